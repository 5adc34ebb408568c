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

#include "net/process/tcp_listeners.h"

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

// As links in /proc/PID/fd.
std::vector<std::string> listenersAt(const Address& address) {
  std::vector<std::string> result;
  for (const std::uint32_t inode : tcpListenersAt(address.port())) {
    result.push_back("socket:[" + std::to_string(inode) + "]");
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
