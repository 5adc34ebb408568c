#pragma once

#include <algorithm>

#include "base/clock.h"

namespace penstock {

// A point in time by which something must have happened, or never. A value.
class Deadline {
 public:
  static constexpr Deadline never() { return Deadline(TimePoint::max()); }
  static constexpr Deadline at(TimePoint when) { return Deadline(when); }
  // Saturates: a timeout too long to represent is never.
  static constexpr Deadline after(TimePoint now, Duration timeout) {
    return timeout >= TimePoint::max() - now ? never() : Deadline(now + timeout);
  }

  constexpr bool isNever() const { return when_ == TimePoint::max(); }
  constexpr bool passed(TimePoint now) const { return now >= when_; }
  constexpr TimePoint when() const { return when_; }
  // Time left, never negative; Duration::max() if never.
  constexpr Duration remaining(TimePoint now) const {
    return isNever() ? Duration::max() : std::max(Duration::zero(), Duration(when_ - now));
  }

  friend constexpr auto operator<=>(Deadline, Deadline) = default;

 private:
  explicit constexpr Deadline(TimePoint when) : when_(when) {}
  TimePoint when_;
};

}  // namespace penstock
