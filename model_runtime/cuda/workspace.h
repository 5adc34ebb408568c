#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "base/clock.h"
#include "model_runtime/cuda/buffer.h"
#include "model_runtime/cuda/device.h"
#include "model_runtime/cuda/lane.h"
#include "model_runtime/cuda/memory_account.h"

namespace penstock::runtime::cuda {

// What one request has on a device, from its upload to when its result is on the host: input and
// output, each in pinned memory and on the device, scratch memory, and a stream for the copies,
// which run beside other requests' kernels. For each request, in this order:
//
//   reserve(sizes)            all memory; out of memory, if at all, here, with nothing begun
//   staging()                 fill it with the input
//   upload()                  enqueues it, and does not wait; needs no lane yet
//   begin(lane), kernels on lane.stream(), end(lane)      enqueue, and do not wait
//   awaitKernels()            sleeps; gives the time of the kernels by the device's clock
//   awaitOutput()             sleeps; gives the output, until the next reserve()
//
// One thread at a time. Device, account and lane outlive it.
class Workspace {
 public:
  struct Sizes {
    std::size_t input = 0;
    std::size_t output = 0;
    std::size_t scratch = 0;
  };

  static DeviceResult<std::unique_ptr<Workspace>> make(Device& device, MemoryAccount& account);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  DeviceResult<void> reserve(const Sizes& sizes, Device::Where where = Device::Where::current());

  std::span<std::byte> staging() const { return {staged_.data(), sizes_.input}; }
  // On the device, for kernels.
  std::byte* input() const { return input_.data(); }
  std::byte* output() const { return output_.data(); }
  std::byte* scratch() const { return scratch_.data(); }

  DeviceResult<void> upload(Device::Where where = Device::Where::current());
  DeviceResult<void> begin(Lane& lane, Device::Where where = Device::Where::current());
  DeviceResult<void> end(Lane& lane, Device::Where where = Device::Where::current());

  DeviceResult<Duration> awaitKernels(Device::Where where = Device::Where::current());
  DeviceResult<std::span<const std::byte>> awaitOutput(
      Device::Where where = Device::Where::current());

  // Waits until nothing enqueued uses it, however far the request got.
  void settle();

 private:
  struct Handles {
    Stream copies;
    std::array<Event, 4> events;
  };
  Workspace(Device& device, MemoryAccount& account, const Handles& handles);

  Device& device_;
  const Stream copies_;
  const Event uploaded_, began_, ended_, downloaded_;
  Buffer staged_, input_, output_, scratch_, result_;
  Sizes sizes_;
  // What is enqueued and has not been awaited.
  bool uploading_ = false;
  Lane* lane_ = nullptr;
  bool complete_ = false;  // downloaded_ is behind all of it
};

}  // namespace penstock::runtime::cuda
