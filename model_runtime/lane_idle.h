#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/clock.h"

namespace penstock::runtime {

// Why lanes stood idle: the time of every lane that is not in predict, put down to what it waited
// for. An idle lane waits for a request that is ready, if there is one for it; else for one in
// preprocess, if there is one for it; else nobody has sent it anything. So at any time
// lanes × time = busy + the three together. Thread-safe.
class LaneIdle {
 public:
  enum class Reason : std::uint8_t { kNoRequest, kPreprocess, kHandOver };
  // Where a request is, as far as lanes are concerned.
  enum class Place : std::uint8_t { kNowhere, kPreprocess, kReady, kPredict };

  LaneIdle(std::size_t lanes, TimePoint now) : lanes_(lanes), until_(now) {}

  // A request goes from one place to another. A time before the last one counts as that.
  void move(Place from, Place to, TimePoint now);
  // Lane-time until now.
  Duration total(Reason reason, TimePoint now) const;

 private:
  static constexpr std::size_t kReasons = 3;
  std::array<Duration, kReasons> totalUntil(TimePoint now) const;

  const std::size_t lanes_;
  mutable std::mutex mutex_;         // guards the rest
  std::array<std::size_t, 4> in_{};  // requests, by place
  std::array<Duration, kReasons> total_{};
  TimePoint until_;
};

}  // namespace penstock::runtime
