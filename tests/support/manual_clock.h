#pragma once

#include "base/clock.h"

namespace penstock {

// A clock that stands still until it is moved. One thread.
class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  void advance(Duration by) { now_ += by; }

 private:
  TimePoint now_{std::chrono::hours(1)};
};

}  // namespace penstock
