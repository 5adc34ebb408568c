#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>

namespace penstock::http {

// Which of the last streams of a connection the peer has ended.
class Http2EndedStreams {
 public:
  void add(std::int32_t id) {
    const std::uint32_t number = numberOf(id);
    if (number > newest_ && number - newest_ >= kRemembered) {
      ended_.reset();
      newest_ = number;
    }
    while (newest_ < number) {
      ended_.reset(++newest_ % kRemembered);
    }
    if (newest_ - number < kRemembered) {
      ended_.set(number % kRemembered);
    }
  }
  bool has(std::int32_t id) const {
    const std::uint32_t number = numberOf(id);
    return number <= newest_ && newest_ - number < kRemembered && ended_[number % kRemembered];
  }

 private:
  static constexpr std::uint32_t kRemembered = 256;
  // A client's streams are 1, 3, 5 …
  static std::uint32_t numberOf(std::int32_t id) { return static_cast<std::uint32_t>(id) / 2; }

  std::bitset<kRemembered> ended_;
  std::uint32_t newest_ = 0;
};

}  // namespace penstock::http
