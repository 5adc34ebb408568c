#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace penstock::http {

// When the next connection to a server may begin: at once, until connections turn out to be of no
// use; then after a pause that doubles from 25 ms to 1 s with each of those in a row.
class ConnectBackOff {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(25);
  static constexpr Duration kLongest = std::chrono::seconds(1);

  // TimePoint::min(): now.
  TimePoint next() const { return next_; }
  bool allows(TimePoint now) const { return now >= next_; }

  void onUseless(TimePoint now) {
    pause_ = std::clamp(2 * pause_, kFirst, kLongest);
    next_ = now + pause_;
  }
  void onUsed() { *this = {}; }

 private:
  Duration pause_{};
  TimePoint next_ = TimePoint::min();
};

}  // namespace penstock::http
