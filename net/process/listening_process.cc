#include "net/process/listening_process.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

namespace penstock::net {
namespace {

struct Process {
  pid_t parent = 0;
  std::string name;
  std::uint64_t started = 0;  // clock ticks since the machine's start
};
using Processes = std::map<pid_t, Process>;

std::optional<Process> readProcess(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  // Not by its buffer's iterators: those throw when the process ends meanwhile.
  std::string text;
  std::getline(file, text);
  const std::size_t name_begin = text.find('(');
  const std::size_t name_end = text.rfind(')');
  if (name_begin == std::string::npos || name_end == std::string::npos) {
    return std::nullopt;
  }
  Process process{.name = text.substr(name_begin + 1, name_end - name_begin - 1)};
  // proc(5): the state is field 3, the parent 4, the start time 22.
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  fields >> skipped >> process.parent;
  for (int field = 5; field < 22; ++field) {
    fields >> skipped;
  }
  fields >> process.started;
  return fields ? std::optional(process) : std::nullopt;
}

Processes allProcesses() {
  Processes result;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c) != 0; })) {
      if (const auto process = readProcess(name)) {
        result.emplace(std::stoi(name), *process);
      }
    }
  }
  return result;
}

// Whether a process is `ancestor` or below it.
bool isBelow(const Processes& processes, pid_t pid, pid_t ancestor) {
  for (auto at = processes.find(pid); at != processes.end();
       at = processes.find(at->second.parent)) {
    if (at->first == ancestor) {
      return true;
    }
  }
  return false;
}

bool isGuarded(const Processes& processes, pid_t pid) {
  for (auto at = processes.find(pid); at != processes.end();
       at = processes.find(at->second.parent)) {
    if (at->second.name == "penstock-guard") {
      return true;
    }
  }
  return false;
}

// The inodes of the sockets that listen at the port and whose local address may be this one, as
// links in /proc/PID/fd.
std::vector<std::string> listenersAt(const Address& address) {
  constexpr std::string_view kListening = "0A";
  std::vector<std::string> result;
  for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    // Listening sockets come first.
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
      fields >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >>
          timeout >> inode;
      if (state != kListening) {
        break;
      }
      const std::size_t colon = local.rfind(':');
      if (fields && colon != std::string::npos &&
          std::stoul(local.substr(colon + 1), nullptr, 16) == address.port()) {
        result.push_back("socket:[" + inode + "]");
      }
    }
  }
  return result;
}

bool hasOneOf(pid_t pid, const std::vector<std::string>& links) {
  std::error_code error;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code gone;
    const std::string link = std::filesystem::read_symlink(at->path(), gone);
    if (std::ranges::find(links, link) != links.end()) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool mayListen(pid_t process, const Address& address, Stranger stranger) {
  const std::vector<std::string> listeners = listenersAt(address);
  if (listeners.empty()) {
    return true;
  }
  const Processes processes = allProcesses();
  const auto self = processes.find(process);
  if (self == processes.end()) {
    return true;
  }
  bool foreign = false;
  for (const auto& [pid, other] : processes) {
    const bool own = isBelow(processes, pid, process);
    if ((own || !foreign) && hasOneOf(pid, listeners)) {
      if (own) {
        return true;
      }
      foreign = stranger == Stranger::kNever || isGuarded(processes, pid) ||
                other.started < self->second.started;
    }
  }
  return !foreign;
}

}  // namespace penstock::net
