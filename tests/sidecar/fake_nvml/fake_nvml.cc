// A libnvidia-ml with two GPUs whose figures never change, for a test to find in place of the real
// one. The second does not say how busy it is, as parts of a GPU do not. What PENSTOCK_FAKE_NVML
// names fails: init, count, gpu_0 (to be found), figures or new_temperature.
//
// FAKE_NVML_NEW, FAKE_NVML_OLD: has the functions that came with CUDA 13, those that went with it.
// What
// the old ones say is wrong where there are both: 100 degrees more, and the other reasons.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define FAKE extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kNotSupported = 3;
constexpr int kUnknown = 999;

int resultOf(const char* call) {
  const char* failing = std::getenv("PENSTOCK_FAKE_NVML");
  return failing != nullptr && std::strcmp(failing, call) == 0 ? kUnknown : 0;
}

std::uintptr_t indexOf(void* gpu) {
  return reinterpret_cast<std::uintptr_t>(gpu) - 1;
}

struct Utilization {
  unsigned gpu;
  unsigned memory;
};
struct Memory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

}  // namespace

FAKE int nvmlInit_v2() {
  return resultOf("init");
}
FAKE int nvmlShutdown() {
  return 0;
}
FAKE const char* nvmlErrorString(int /*error*/) {
  return "an error";
}
FAKE int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return resultOf("count");
}
FAKE int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** gpu) {
  *gpu = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index) + 1);
  return index == 0 ? resultOf("gpu_0") : 0;
}
FAKE int nvmlDeviceGetName(void* gpu, char* name, unsigned size) {
  std::strncpy(name, indexOf(gpu) == 0 ? "Fake H200" : "Fake A100", size);
  return 0;
}
FAKE int nvmlDeviceGetUUID(void* gpu, char* uuid, unsigned size) {
  std::strncpy(uuid, indexOf(gpu) == 0 ? "GPU-aaaa-0" : "GPU-bbbb-1", size);
  return 0;
}
FAKE int nvmlDeviceGetUtilizationRates(void* gpu, Utilization* share) {
  *share = {.gpu = 37, .memory = 5};
  return indexOf(gpu) == 0 ? resultOf("figures") : kNotSupported;
}
FAKE int nvmlDeviceGetMemoryInfo(void* gpu, Memory* memory) {
  constexpr unsigned long long kGiB = 1ull << 30;
  *memory = indexOf(gpu) == 0 ? Memory{.total = 100 * kGiB, .free = 75 * kGiB, .used = 25 * kGiB}
                              : Memory{.total = 60 * kGiB, .free = 5 * kGiB, .used = 55 * kGiB};
  return resultOf("figures");
}

namespace {

[[maybe_unused]] unsigned temperatureOf(void* gpu) {
  return indexOf(gpu) == 0 ? 51 : 88;
}
[[maybe_unused]] unsigned long long reasonsOf(void* gpu) {
  return indexOf(gpu) == 0 ? 0x1 : 0x40;  // idle; thermal
}

}  // namespace

#if FAKE_NVML_NEW
struct Temperature {
  unsigned version;
  int sensor;
  int celsius;
};
FAKE int nvmlDeviceGetTemperatureV(void* gpu, Temperature* temperature) {
  constexpr int kOtherVersion = 25;
  if (temperature->version != (1u << 24 | 12u)) {
    return kOtherVersion;
  }
  temperature->celsius = static_cast<int>(temperatureOf(gpu));
  return std::max(resultOf("figures"), resultOf("new_temperature"));
}
FAKE int nvmlDeviceGetCurrentClocksEventReasons(void* gpu, unsigned long long* reasons) {
  *reasons = reasonsOf(gpu);
  return resultOf("figures");
}
#endif
#if FAKE_NVML_OLD
FAKE int nvmlDeviceGetTemperature(void* gpu, int /*sensor*/, unsigned* celsius) {
  *celsius = temperatureOf(gpu) + (FAKE_NVML_NEW ? 100 : 0);
  return resultOf("figures");
}
FAKE int nvmlDeviceGetCurrentClocksThrottleReasons(void* gpu, unsigned long long* reasons) {
  *reasons = reasonsOf(gpu) ^ (FAKE_NVML_NEW ? ~0ull : 0);
  return resultOf("figures");
}
#endif
