#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/clock.h"
#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

// The device's side of a lane: the stream that its kernels go to, one request's behind the other's.
// Launch kernels on it only between Workspace::begin() and end(). The device outlives it.
class Lane {
 public:
  static DeviceResult<std::unique_ptr<Lane>> make(
      Device& device, std::size_t device_index,
      Device::Priority priority = Device::Priority::kHigh);
  ~Lane() { device_.endStream(stream_); }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  Device& device() const { return device_; }
  std::size_t deviceIndex() const { return device_index_; }
  Stream stream() const { return stream_; }

  // Kernels of one request took so long, by the device's clock.
  void ran(Duration time) { busy_.fetch_add(time.count(), std::memory_order_relaxed); }
  // All of them together.
  Duration busy() const { return Duration(busy_.load(std::memory_order_relaxed)); }

 private:
  Lane(Device& device, std::size_t device_index, Stream stream)
      : device_(device), device_index_(device_index), stream_(stream) {}

  Device& device_;
  const std::size_t device_index_;
  const Stream stream_;
  std::atomic<Duration::rep> busy_{0};
};

}  // namespace penstock::runtime::cuda
