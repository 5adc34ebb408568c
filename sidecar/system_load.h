#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace penstock::sidecar {

// How much this container uses of the CPU time and the memory that it may use: its control group's
// figures (version 2, else 1) against the group's limits, and against the machine where the group
// has none; without a group, the machine's figures. Reads a few small files; one thread.
class SystemLoad {
 public:
  // root: where proc and sys are found, for tests; ends with a slash.
  explicit SystemLoad(std::string root = "/");

  struct Sample {
    double cpu_utilization = 0;  // since the sample before; may exceed 1
    double mem_utilization = 0;  // 0 to 1
  };
  Sample read(TimePoint now);

 private:
  struct Group {
    std::string cpu;     // folder of the controller, with a slash at its end
    std::string memory;  // likewise
    bool is_v2 = false;
  };
  std::optional<Group> findGroup() const;
  std::optional<double> cpuSeconds() const;
  double cpuLimit() const;
  double memUtilization() const;

  const std::string root_;
  const std::optional<Group> group_;
  const double machine_cpus_;
  std::optional<double> last_cpu_seconds_;
  TimePoint last_read_{};
};

}  // namespace penstock::sidecar
