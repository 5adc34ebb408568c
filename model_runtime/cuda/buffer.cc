#include "model_runtime/cuda/buffer.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace penstock::runtime::cuda {
namespace {

// In steps of an eighth, so that sizes that differ a little are one size.
std::size_t rounded(std::size_t bytes) {
  constexpr std::size_t kLeast = 64 * 1024;
  const std::size_t wanted = std::max(bytes, kLeast);
  const std::size_t step = std::bit_floor(wanted) / 8;
  return (wanted + step - 1) / step * step;
}

}  // namespace

DeviceResult<std::byte*> Buffer::reserve(std::size_t bytes, Device::Where where) {
  if (bytes <= capacity_) {
    return data_;
  }
  clear();
  const std::size_t capacity = rounded(bytes);
  if (!account_.take(kind_, capacity)) {
    account_.refused();
    return std::unexpected(DeviceError{
        .fault = DeviceFault::kOutOfMemory,
        .message = "the limit of device memory leaves no " + std::to_string(capacity) + " bytes",
        .where = where});
  }
  auto memory = device_.allocate(kind_, capacity, where);
  if (!memory) {
    account_.giveBack(kind_, capacity);
    account_.refused();
    return std::unexpected(std::move(memory.error()));
  }
  account_.allocated();
  data_ = static_cast<std::byte*>(*memory);
  capacity_ = capacity;
  return data_;
}

void Buffer::clear() {
  if (data_ == nullptr) {
    return;
  }
  device_.release(kind_, std::exchange(data_, nullptr));
  account_.giveBack(kind_, std::exchange(capacity_, 0));
}

}  // namespace penstock::runtime::cuda
