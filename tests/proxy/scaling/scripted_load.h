#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "proxy/scaling/load_window.h"

namespace penstock::proxy {

// The figures of an admission queue that a test writes by hand: it says how many are in flight and
// waiting, lets time pass, and takes samples. Integrals are exact.
class ScriptedLoad {
 public:
  void set(std::uint64_t in_flight, std::uint64_t waiting = 0) {
    sample_.in_flight = in_flight;
    sample_.waiting = waiting;
  }
  void arrive(std::uint64_t requests) { sample_.arrivals += requests; }
  // So many requests came, took each so long, one after the other, and ended. Time passes with
  // them.
  void serve(std::uint64_t requests, Duration each) {
    for (std::uint64_t i = 0; i < requests; ++i) {
      const std::uint64_t before = sample_.in_flight;
      arrive(1);
      sample_.in_flight = before + 1;
      pass(each);
      sample_.in_flight = before;
      ++sample_.done;
    }
  }
  void pass(Duration time) {
    const double seconds = std::chrono::duration<double>(time).count();
    sample_.at += time;
    sample_.waiting_seconds += seconds * static_cast<double>(sample_.waiting);
    sample_.in_flight_seconds += seconds * static_cast<double>(sample_.in_flight);
  }
  const LoadSample& sample() const { return sample_; }

 private:
  LoadSample sample_{.at = TimePoint(std::chrono::hours(1))};
};

}  // namespace penstock::proxy
