#pragma once

#include <cstdint>

namespace penstock {

// When a kernel began and ended, in nanoseconds of the device's global timer.
struct Stamps {
  std::uint64_t began = 0;
  std::uint64_t ended = 0;
};

// Enqueues a kernel of one thread that does nothing for so long, and writes to stamps when.
void launchBusy(std::uint64_t nanoseconds, Stamps* stamps, void* stream);

// What the device can do at most.
struct DeviceLimits {
  double lane_instructions_per_second = 0;  // of 32 bits, 128 lanes to a multiprocessor
  double exponentials_per_second = 0;       // 16 to a multiprocessor and clock
  double bytes_per_second = 0;
};
// Those of the first device. Returns null, or what CUDA said instead.
const char* readDeviceLimits(DeviceLimits& limits);

// The newest CUDA that the driver is for, as 1000 times major and 10 times minor; 0 if it does not
// say.
int driversCudaVersion();

}  // namespace penstock
