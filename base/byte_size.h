#pragma once

#include <compare>
#include <cstdint>

namespace penstock {

// A number of bytes.
struct ByteSize {
  std::uint64_t count = 0;

  friend constexpr auto operator<=>(ByteSize, ByteSize) = default;
};

constexpr ByteSize operator""_B(unsigned long long n) {
  return {n};
}
constexpr ByteSize operator""_KiB(unsigned long long n) {
  return {n << 10};
}
constexpr ByteSize operator""_MiB(unsigned long long n) {
  return {n << 20};
}

}  // namespace penstock
