#include "sidecar/system_load.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string_view>

#include <unistd.h>

namespace penstock::sidecar {
namespace {

// The number after a name in a file of such lines ("usage_usec 17", "MemTotal:  3 kB").
std::optional<double> numberAfter(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word == name) {
      double value = 0;
      return file >> value ? std::optional(value) : std::nullopt;
    }
    file.ignore(4096, '\n');
  }
  return std::nullopt;
}

// The first number of a file; nothing if it holds a word ("max") or is not there.
std::optional<double> numberIn(const std::string& path) {
  std::ifstream file(path);
  double value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

bool exists(const std::string& path) {
  return std::ifstream(path).good();
}

bool names(std::string_view controllers, std::string_view controller) {
  return ("," + std::string(controllers) + ",").contains("," + std::string(controller) + ",");
}

// A container sees its own group as the root of the hierarchy, whatever it is called outside.
std::string folderOf(const std::string& hierarchy, const std::string& group,
                     std::string_view telling_file) {
  const std::string folder = hierarchy + group + (group.ends_with('/') ? "" : "/");
  return exists(folder + std::string(telling_file)) ? folder : hierarchy + "/";
}

}  // namespace

SystemLoad::SystemLoad(std::string root)
    : root_(std::move(root)),
      group_(findGroup()),
      machine_cpus_(static_cast<double>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)))) {}

// Lines of "hierarchy:controllers:path"; version 2 is hierarchy 0 and names no controllers.
std::optional<SystemLoad::Group> SystemLoad::findGroup() const {
  const std::string hierarchies = root_ + "sys/fs/cgroup";
  std::ifstream file(root_ + "proc/self/cgroup");
  Group group;
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      const std::string folder = folderOf(hierarchies, path, "memory.current");
      if (exists(folder + "memory.current")) {
        return Group{.cpu = folder, .memory = folder, .is_v2 = true};
      }
    } else if (names(controllers, "cpuacct")) {
      group.cpu = folderOf(hierarchies + "/cpu,cpuacct", path, "cpuacct.usage");
    } else if (names(controllers, "memory")) {
      group.memory = folderOf(hierarchies + "/memory", path, "memory.usage_in_bytes");
    }
  }
  if (exists(group.cpu + "cpuacct.usage") && exists(group.memory + "memory.usage_in_bytes")) {
    return group;
  }
  return std::nullopt;
}

std::optional<double> SystemLoad::cpuSeconds() const {
  if (group_.has_value()) {
    const auto used = group_->is_v2 ? numberAfter(group_->cpu + "cpu.stat", "usage_usec")
                                    : numberIn(group_->cpu + "cpuacct.usage");
    return used.transform([this](double value) { return value / (group_->is_v2 ? 1e6 : 1e9); });
  }
  std::ifstream file(root_ + "proc/stat");
  std::string name;
  double user = 0;
  double nice = 0;
  double system = 0;
  if (!(file >> name >> user >> nice >> system)) {
    return std::nullopt;
  }
  return (user + nice + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// In CPUs.
double SystemLoad::cpuLimit() const {
  std::optional<double> quota;
  std::optional<double> period;
  if (group_.has_value() && group_->is_v2) {
    std::ifstream file(group_->cpu + "cpu.max");
    double a = 0;
    double b = 0;
    if (file >> a >> b) {
      quota = a;
      period = b;
    }
  } else if (group_.has_value()) {
    quota = numberIn(group_->cpu + "cpu.cfs_quota_us");
    period = numberIn(group_->cpu + "cpu.cfs_period_us");
  }
  const bool limited = quota.value_or(-1) > 0 && period.value_or(0) > 0;
  return limited ? std::min(*quota / *period, machine_cpus_) : machine_cpus_;
}

double SystemLoad::memUtilization() const {
  const std::string meminfo = root_ + "proc/meminfo";
  const double machine = numberAfter(meminfo, "MemTotal:").value_or(0) * 1024;
  double used = machine - numberAfter(meminfo, "MemAvailable:").value_or(0) * 1024;
  double limit = machine;
  if (group_.has_value()) {
    const bool v2 = group_->is_v2;
    used = numberIn(group_->memory + (v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
    // What the kernel can drop at once is not in use (kubelet's working set).
    used -=
        numberAfter(group_->memory + "memory.stat", v2 ? "inactive_file" : "total_inactive_file")
            .value_or(0);
    const auto group_limit =
        numberIn(group_->memory + (v2 ? "memory.max" : "memory.limit_in_bytes"));
    limit = std::min(limit, group_limit.value_or(limit));
  }
  return limit > 0 ? std::clamp(used / limit, 0.0, 1.0) : 0;
}

SystemLoad::Sample SystemLoad::read(TimePoint now) {
  Sample sample{.cpu_utilization = 0, .mem_utilization = memUtilization()};
  const std::optional<double> used = cpuSeconds();
  const double elapsed = std::chrono::duration<double>(now - last_read_).count();
  if (used.has_value() && last_cpu_seconds_.has_value() && elapsed > 0) {
    sample.cpu_utilization = std::max(0.0, (*used - *last_cpu_seconds_) / elapsed / cpuLimit());
  }
  last_cpu_seconds_ = used;
  last_read_ = now;
  return sample;
}

}  // namespace penstock::sidecar
