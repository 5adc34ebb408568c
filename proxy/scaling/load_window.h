#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/clock.h"
#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

// What an admission queue says of itself at one moment. The integrals and counts run since its
// start.
struct LoadSample {
  TimePoint at{};
  double waiting_seconds = 0;    // ∫ waiting dt
  double in_flight_seconds = 0;  // ∫ in_flight dt
  std::uint64_t arrivals = 0;
  std::uint64_t done = 0;  // ended after having been accepted
  std::uint64_t waiting = 0;
  std::uint64_t in_flight = 0;
};

LoadSample sampleOf(const AdmissionQueue::Snapshot& queue);

// The load of one cluster over the recent past, as differences of exact time integrals: how often
// it is sampled decides how fresh the answers are, never how right. What was before the first
// sample counts as no load.
class LoadWindow {
 public:
  // Samples come in the order of time; those older than keep before the newest are dropped.
  void add(const LoadSample& sample, Duration keep);

  // The newest sample; all zero before the first.
  const LoadSample& now() const { return newest_; }
  // Requests waiting or in flight, on average over the last length.
  double demand(Duration length) const;
  // The same, of requests in flight only.
  double inFlight(Duration length) const;
  // Requests a second that came during the last length.
  double arrivalRate(Duration length) const;
  // How long a request was in flight on average when last some ended; absent until then.
  std::optional<double> serviceSeconds() const { return service_seconds_; }

 private:
  // What the integrals were at a time, interpolated between samples.
  LoadSample at(TimePoint time) const;
  void measureService();

  std::deque<LoadSample> samples_;
  LoadSample newest_{};
  LoadSample service_since_{};
  std::optional<double> service_seconds_;
};

}  // namespace penstock::proxy
