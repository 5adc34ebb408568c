#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace penstock::runtime::cuda {

// What the driver says of the GPUs, by NVML, the NVIDIA Management Library: found at run time, so
// that nothing is linked with it. One thread at a time. Calls take milliseconds, and may take
// longer.
class Nvml {
 public:
  enum class Throttle { kPower, kThermal, kHardware };
  // Empty: the driver does not say (as for parts of a GPU).
  struct Figures {
    std::optional<double> utilization;  // share of the last moment with a kernel running, 0 … 1
    std::optional<double> memory_used_bytes;
    std::optional<double> memory_bytes;
    std::optional<double> temperature_celsius;
    std::optional<std::vector<Throttle>> throttled;  // by what clocks are held down
  };

  // library: to be found as the dynamic linker finds it. visible: CUDA_VISIBLE_DEVICES, null if it
  // is not set; which GPUs are looked at. Null if there is nothing to ask: no library, or no GPU
  // that may be seen. An error if what is there does not do what it should.
  static Result<std::unique_ptr<Nvml>> open(const std::string& library, const char* visible);
  virtual ~Nvml() = default;

  // Names of the GPUs, in the order of read().
  virtual const std::vector<std::string>& names() const = 0;
  virtual std::vector<Figures> read() = 0;
};

inline constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

// The entries of CUDA_VISIBLE_DEVICES: numbers, or beginnings of names such as GPU-8932f937. As
// CUDA does, it stops at the first that is neither.
std::vector<std::string> visibleDevices(std::string_view text);

// Its first entry that is a part of a GPU (MIG-…), of which there are no figures; empty if none is.
std::string_view visiblePart(std::string_view text);

}  // namespace penstock::runtime::cuda
