// The real devices. The only file that calls the CUDA runtime.

#include <utility>

#include <cuda_runtime_api.h>

#include "model_runtime/cuda/device.h"
#include "model_runtime/cuda/fault_of.h"
#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {
namespace {

DeviceError errorOf(cudaError_t code, const char* call, std::source_location where) {
  return {.fault = faultOf(code),
          .message = std::string(call) + ": " + cudaGetErrorString(code) + " (" +
                     cudaGetErrorName(code) + ")",
          .where = where};
}

DeviceResult<void> check(cudaError_t code, const char* call, std::source_location where) {
  if (code == cudaSuccess) {
    return {};
  }
  // The runtime keeps it for the next cudaGetLastError, where it would be taken for a launch's.
  cudaGetLastError();
  return std::unexpected(errorOf(code, call, where));
}

// Where there is nobody to tell; the next launch is not told either.
void ignore(cudaError_t code) {
  if (code != cudaSuccess) {
    cudaGetLastError();
  }
}

cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}
cudaEvent_t native(Event event) {
  return static_cast<cudaEvent_t>(event.handle);
}

class CudaDevice final : public Device {
 public:
  CudaDevice(int index, std::string name) : index_(index), name_(std::move(name)) {}

  std::string name() const override { return name_; }

  DeviceResult<MemoryState> memory(Where where) override {
    MemoryState state;
    PENSTOCK_TRY(use(where));
    PENSTOCK_TRY(check(cudaMemGetInfo(&state.free, &state.total), "cudaMemGetInfo", where));
    return state;
  }

  DeviceResult<void*> allocate(Memory kind, std::size_t bytes, Where where) override {
    void* memory = nullptr;
    PENSTOCK_TRY(use(where));
    if (kind == Memory::kDevice) {
      PENSTOCK_TRY(check(cudaMalloc(&memory, bytes), "cudaMalloc", where));
    } else {
      PENSTOCK_TRY(
          check(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc", where));
    }
    return memory;
  }

  void release(Memory kind, void* memory) override {
    ignore(cudaSetDevice(index_));
    ignore(kind == Memory::kDevice ? cudaFree(memory) : cudaFreeHost(memory));
  }

  DeviceResult<Stream> makeStream(Priority priority, Where where) override {
    cudaStream_t stream = nullptr;
    int lowest = 0;
    int highest = 0;
    PENSTOCK_TRY(use(where));
    PENSTOCK_TRY(check(cudaDeviceGetStreamPriorityRange(&lowest, &highest),
                       "cudaDeviceGetStreamPriorityRange", where));
    PENSTOCK_TRY(check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                                    priority == Priority::kHigh ? highest : 0),
                       "cudaStreamCreateWithPriority", where));
    return Stream{stream};
  }
  void endStream(Stream stream) override { ignore(cudaStreamDestroy(native(stream))); }

  DeviceResult<Event> makeEvent(EventUse event_use, Where where) override {
    cudaEvent_t event = nullptr;
    // With blocking sync the thread that waits sleeps until the device's interrupt.
    const unsigned flags = (event_use.awaited ? cudaEventBlockingSync : 0u) |
                           (event_use.timed ? 0u : cudaEventDisableTiming);
    PENSTOCK_TRY(use(where));
    PENSTOCK_TRY(check(cudaEventCreateWithFlags(&event, flags), "cudaEventCreateWithFlags", where));
    return Event{event};
  }
  void endEvent(Event event) override { ignore(cudaEventDestroy(native(event))); }

  DeviceResult<void> copy(void* to, const void* from, std::size_t bytes, Stream stream,
                          Where where) override {
    PENSTOCK_TRY(use(where));
    return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, native(stream)),
                 "cudaMemcpyAsync", where);
  }
  DeviceResult<void> record(Event event, Stream stream, Where where) override {
    PENSTOCK_TRY(use(where));
    return check(cudaEventRecord(native(event), native(stream)), "cudaEventRecord", where);
  }
  DeviceResult<void> order(Stream stream, Event event, Where where) override {
    PENSTOCK_TRY(use(where));
    return check(cudaStreamWaitEvent(native(stream), native(event), 0), "cudaStreamWaitEvent",
                 where);
  }
  DeviceResult<void> await(Event event, Where where) override {
    PENSTOCK_TRY(use(where));
    return check(cudaEventSynchronize(native(event)), "cudaEventSynchronize", where);
  }
  DeviceResult<Duration> between(Event first, Event second, Where where) override {
    float milliseconds = 0;
    PENSTOCK_TRY(use(where));
    PENSTOCK_TRY(check(cudaEventElapsedTime(&milliseconds, native(first), native(second)),
                       "cudaEventElapsedTime", where));
    return fromSeconds(static_cast<double>(milliseconds) / 1000);
  }

  DeviceResult<void> use(Where where) override {
    return check(cudaSetDevice(index_), "cudaSetDevice", where);
  }
  DeviceResult<void> launched(Where where) override {
    return check(cudaGetLastError(), "a kernel's launch", where);
  }

 private:
  const int index_;
  const std::string name_;
};

// Not made current, which would take some hundred megabytes of a device that may get no lane, and
// fail if another process has it to itself.
DeviceResult<std::unique_ptr<Device>> openDevice(int index) {
  cudaDeviceProp properties{};
  PENSTOCK_TRY(check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties",
                     std::source_location::current()));
  return std::make_unique<CudaDevice>(index, properties.name);
}

}  // namespace

DeviceResult<std::vector<std::unique_ptr<Device>>> openDevices() {
  int count = 0;
  PENSTOCK_TRY(
      check(cudaGetDeviceCount(&count), "cudaGetDeviceCount", std::source_location::current()));
  std::vector<std::unique_ptr<Device>> devices;
  for (int index = 0; index < count; ++index) {
    auto device = openDevice(index);
    if (!device) {
      return std::unexpected(std::move(device.error()));
    }
    devices.push_back(std::move(*device));
  }
  if (devices.empty()) {
    return std::unexpected(
        errorOf(cudaErrorNoDevice, "cudaGetDeviceCount", std::source_location::current()));
  }
  return devices;
}

}  // namespace penstock::runtime::cuda
