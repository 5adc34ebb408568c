#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "net/http/limits.h"

namespace penstock::http {

// Whether a body comes fast enough: no gap longer than body_idle_timeout, and in each window of 10
// s at least min_body_rate bytes a second. Stands still while this side does not read, and once it
// is lifted until the next reset(). A value; time is passed in.
class BodyPace {
 public:
  static constexpr std::chrono::seconds kWindow{10};

  explicit BodyPace(const Limits& limits) : limits_(limits) {}

  // For another body.
  void reset() { state_ = State::kStopped; }
  // Begins to count, or continues after stop(), with a fresh window.
  void start(TimePoint now) {
    if (state_ == State::kLifted) {
      return;
    }
    state_ = State::kRunning;
    last_byte_ = window_start_ = now;
    window_bytes_ = 0;
  }
  void stop() {
    if (running()) {
      state_ = State::kStopped;
    }
  }
  // Nothing is too slow any more.
  void lift() { state_ = State::kLifted; }
  bool running() const { return state_ == State::kRunning; }
  void onBytes(TimePoint now, std::uint64_t count) {
    last_byte_ = now;
    window_bytes_ += count;
  }

  // When tooSlow() is to be asked next; TimePoint::max() if stopped.
  TimePoint due() const {
    return running() ? std::min(last_byte_ + limits_.body_idle_timeout, window_start_ + kWindow)
                     : TimePoint::max();
  }
  bool tooSlow(TimePoint now) {
    if (!running()) {
      return false;
    }
    if (now - last_byte_ >= limits_.body_idle_timeout) {
      return true;
    }
    if (now - window_start_ < kWindow) {
      return false;
    }
    const bool slow = window_bytes_ < limits_.min_body_rate * std::uint64_t{kWindow.count()};
    window_start_ = now;
    window_bytes_ = 0;
    return slow;
  }

 private:
  enum class State { kStopped, kRunning, kLifted };

  const Limits& limits_;
  State state_ = State::kStopped;
  TimePoint last_byte_;
  TimePoint window_start_;
  std::uint64_t window_bytes_ = 0;
};

}  // namespace penstock::http
