#pragma once

#include "base/clock.h"

namespace penstock::simulator {

// When simulations start.
inline constexpr TimePoint kStart{std::chrono::hours(1'000)};

// Stands still until the simulation moves it. One thread.
class VirtualClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  void set(TimePoint now) { now_ = now; }

 private:
  TimePoint now_ = kStart;
};

}  // namespace penstock::simulator
