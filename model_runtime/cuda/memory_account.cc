#include "model_runtime/cuda/memory_account.h"

#include "base/check.h"

namespace penstock::runtime::cuda {

bool MemoryAccount::take(Device::Memory kind, std::size_t bytes) {
  std::atomic<std::size_t>& booked = of(kind);
  if (kind != Device::Memory::kDevice || device_limit_ == 0) {
    booked.fetch_add(bytes, std::memory_order_relaxed);
    return true;
  }
  std::size_t now = booked.load(std::memory_order_relaxed);
  do {
    if (bytes > device_limit_ || now > device_limit_ - bytes) {
      return false;
    }
  } while (!booked.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
  return true;
}

void MemoryAccount::giveBack(Device::Memory kind, std::size_t bytes) {
  const std::size_t before = of(kind).fetch_sub(bytes, std::memory_order_relaxed);
  PENSTOCK_CHECK(before >= bytes, "what is given back was taken");
}

}  // namespace penstock::runtime::cuda
