#pragma once

#include <chrono>

namespace penstock {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// For figures that are divided, averaged or shown.
inline double inSeconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}
inline Duration fromSeconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

// Where the time comes from. Only the composition root makes a SteadyClock; everything below it is
// handed a Clock, so that a test can drive time by hand. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

// CLOCK_MONOTONIC.
class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace penstock
