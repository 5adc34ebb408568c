#pragma once

#include <atomic>
#include <cstdint>

#include "base/byte_size.h"

namespace penstock::proxy {

// Bytes of bodies held in the whole process. Thread-safe. Requests are refused as overloaded while
// the budget is exceeded.
class BufferBudget {
 public:
  explicit BufferBudget(ByteSize limit) : limit_(static_cast<std::int64_t>(limit.count)) {}

  void add(std::int64_t change) { used_.fetch_add(change, std::memory_order_relaxed); }
  bool exceeded() const { return used_.load(std::memory_order_relaxed) >= limit_; }
  std::int64_t used() const { return used_.load(std::memory_order_relaxed); }
  std::int64_t limit() const { return limit_; }

  // A quarter of the memory: of the cgroup's limit, if there is one, else of the machine's.
  static ByteSize defaultLimit();

 private:
  const std::int64_t limit_;
  std::atomic<std::int64_t> used_{0};
};

}  // namespace penstock::proxy
