#include "tests/gpu/busy_kernel.h"

namespace penstock {
namespace {

__device__ std::uint64_t globalTimer() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void busy(std::uint64_t nanoseconds, Stamps* stamps) {
  stamps->began = globalTimer();
  while (globalTimer() - stamps->began < nanoseconds) {
  }
  stamps->ended = globalTimer();
}

double attribute(cudaDeviceAttr what) {
  int value = 0;
  cudaDeviceGetAttribute(&value, what, 0);
  return value;
}

}  // namespace

void launchBusy(std::uint64_t nanoseconds, Stamps* stamps, void* stream) {
  busy<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(nanoseconds, stamps);
}

DeviceLimits deviceLimits() {
  const double clocks =
      attribute(cudaDevAttrClockRate) * 1e3 * attribute(cudaDevAttrMultiProcessorCount);
  // Two transfers a clock, eight bits to a byte.
  const double bytes = attribute(cudaDevAttrMemoryClockRate) * 1e3 * 2 *
                       attribute(cudaDevAttrGlobalMemoryBusWidth) / 8;
  return {.lane_instructions_per_second = clocks * 128,
          .exponentials_per_second = clocks * 16,
          .bytes_per_second = bytes};
}

}  // namespace penstock
