#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace penstock::proxy {

// What an admission queue counts, and the time integrals of it since its start. A value.
class QueueAccount {
 public:
  struct Integrals {
    double waiting_seconds = 0;    // ∫ waiting dt
    double in_flight_seconds = 0;  // ∫ in flight dt
    // ∫ undelivered dt: slots idle while a request waited for them, the hand-over to another
    // thread.
    double idle_while_waiting_seconds = 0;
  };

  explicit QueueAccount(TimePoint start) : until_(start) {}

  // Before any change at that time. Two threads may read the clock in one order and get the queue's
  // lock in the other: returns the later one of now and the last time. Passed is the time between.
  struct Step {
    TimePoint now;
    Duration passed;
  };
  Step stepTo(TimePoint now) const {
    const TimePoint later = std::max(now, until_);
    return {later, later - until_};
  }
  void advance(const Step& step, std::uint64_t in_flight) {
    integrals_ = after(step, in_flight);
    until_ = step.now;
  }
  // As they are at the end of the step.
  Integrals after(const Step& step, std::uint64_t in_flight) const {
    const double dt = inSeconds(step.passed);
    return {.waiting_seconds = integrals_.waiting_seconds + dt * static_cast<double>(waiting),
            .in_flight_seconds = integrals_.in_flight_seconds + dt * static_cast<double>(in_flight),
            .idle_while_waiting_seconds =
                integrals_.idle_while_waiting_seconds + dt * static_cast<double>(undelivered)};
  }

  std::uint64_t waiting = 0;      // tickets in the queue or backing off
  std::uint64_t backing_off = 0;  // of these
  std::uint64_t waiting_bytes = 0;
  std::uint64_t undelivered = 0;  // granted and not yet told
  std::uint64_t retrying = 0;     // running again, or waiting to
  std::uint64_t accepted = 0;
  std::uint64_t done = 0;
  std::uint64_t refused = 0;

 private:
  TimePoint until_;
  Integrals integrals_;
};

}  // namespace penstock::proxy
