#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

// How much memory Penstock's buffers have on one device, and beside it in pinned pages. Bounds what
// is on the device, so that a model leaves room for what it allocates by itself. Thread-safe.
class MemoryAccount {
 public:
  // device_limit: bytes on the device; 0: what there is.
  explicit MemoryAccount(std::size_t device_limit = 0) : device_limit_(device_limit) {}

  // Books bytes that are about to be allocated; false, and nothing booked, if they are too many.
  bool take(Device::Memory kind, std::size_t bytes);
  // They were released, or could not be allocated.
  void giveBack(Device::Memory kind, std::size_t bytes);
  // One more allocation was made, or was refused by the account or the device.
  void allocated() { allocations_.fetch_add(1, std::memory_order_relaxed); }
  void refused() { refusals_.fetch_add(1, std::memory_order_relaxed); }

  std::size_t bytes(Device::Memory kind) const { return of(kind).load(std::memory_order_relaxed); }
  std::uint64_t allocations() const { return allocations_.load(std::memory_order_relaxed); }
  std::uint64_t refusals() const { return refusals_.load(std::memory_order_relaxed); }

 private:
  const std::atomic<std::size_t>& of(Device::Memory kind) const {
    return bytes_[static_cast<std::size_t>(kind)];
  }
  std::atomic<std::size_t>& of(Device::Memory kind) {
    return bytes_[static_cast<std::size_t>(kind)];
  }

  const std::size_t device_limit_;
  std::array<std::atomic<std::size_t>, 2> bytes_{};
  std::atomic<std::uint64_t> allocations_{0};
  std::atomic<std::uint64_t> refusals_{0};
};

}  // namespace penstock::runtime::cuda
