#pragma once

#include <atomic>
#include <cstdint>

namespace penstock::http {

// What the pools of one kind count together. Thread-safe.
struct PoolFigures {
  std::atomic<std::int64_t> open{0};  // connections, those being made included
  std::atomic<std::uint64_t> opened{0};
  std::atomic<std::uint64_t> no_stream{0};  // waiters that were given up
};

}  // namespace penstock::http
