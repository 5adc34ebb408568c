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

}  // namespace

void launchBusy(std::uint64_t nanoseconds, Stamps* stamps, void* stream) {
  busy<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(nanoseconds, stamps);
}

const char* readDeviceLimits(DeviceLimits& limits) {
  constexpr cudaDeviceAttr kWanted[] = {cudaDevAttrClockRate, cudaDevAttrMultiProcessorCount,
                                        cudaDevAttrMemoryClockRate,
                                        cudaDevAttrGlobalMemoryBusWidth};
  double values[4];
  for (int i = 0; i < 4; ++i) {
    int value = 0;
    if (const cudaError_t code = cudaDeviceGetAttribute(&value, kWanted[i], 0);
        code != cudaSuccess) {
      return cudaGetErrorString(code);
    }
    values[i] = value;
  }
  const auto [kilohertz, multiprocessors, memory_kilohertz, bus_bits] = values;
  const double clocks = kilohertz * 1e3 * multiprocessors;
  // Two transfers a clock, eight bits to a byte.
  const double bytes = memory_kilohertz * 1e3 * 2 * bus_bits / 8;
  limits = {.lane_instructions_per_second = clocks * 128,
            .exponentials_per_second = clocks * 16,
            .bytes_per_second = bytes};
  return nullptr;
}

int driversCudaVersion() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

}  // namespace penstock
