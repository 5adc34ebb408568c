#pragma once

#include <cstddef>

#include "model_runtime/cuda/device.h"
#include "model_runtime/cuda/memory_account.h"

namespace penstock::runtime::cuda {

// Memory of one kind that grows to what was asked for and is then used again: requests of sizes
// seen before allocate nothing. Accounted. One thread at a time; device and account outlive it.
class Buffer {
 public:
  Buffer(Device& device, MemoryAccount& account, Device::Memory kind)
      : device_(device), account_(account), kind_(kind) {}
  ~Buffer() { clear(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // At least so many bytes. Growing loses the contents, and nothing enqueued may still use them.
  // After an error the buffer is empty, and may be asked again.
  DeviceResult<std::byte*> reserve(std::size_t bytes,
                                   Device::Where where = Device::Where::current());
  std::byte* data() const { return data_; }
  std::size_t capacity() const { return capacity_; }
  void clear();

 private:
  Device& device_;
  MemoryAccount& account_;
  const Device::Memory kind_;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace penstock::runtime::cuda
