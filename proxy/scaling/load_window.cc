#include "proxy/scaling/load_window.h"

#include <algorithm>

namespace penstock::proxy {
namespace {

// So many requests make a mean of service times that is worth something.
constexpr std::uint64_t kServiceSamples = 20;

}  // namespace

LoadSample sampleOf(const AdmissionQueue::Snapshot& queue) {
  return {.at = queue.at,
          .waiting_seconds = queue.waiting_seconds,
          .in_flight_seconds = queue.in_flight_seconds,
          .arrivals = queue.arrivals,
          .done = queue.done,
          .waiting = queue.waiting,
          .in_flight = queue.in_flight};
}

void LoadWindow::add(const LoadSample& sample, Duration keep) {
  if (samples_.empty()) {
    service_since_ = sample;
  }
  newest_ = sample;
  samples_.push_back(sample);
  // One that is older than the window stays, for the value at the window's edge.
  while (samples_.size() > 2 && samples_[1].at <= sample.at - keep) {
    samples_.pop_front();
  }
  measureService();
}

// ∫ in_flight dt ÷ requests ended. Work that has begun and not ended makes it too long for a while,
// which is the safe side; enough requests make that small.
void LoadWindow::measureService() {
  const std::uint64_t ended = newest_.done - service_since_.done;
  if (ended >= kServiceSamples || (ended > 0 && newest_.in_flight == 0 && newest_.waiting == 0)) {
    service_seconds_ =
        (newest_.in_flight_seconds - service_since_.in_flight_seconds) / static_cast<double>(ended);
    service_since_ = newest_;
  }
}

LoadSample LoadWindow::at(TimePoint time) const {
  if (samples_.empty() || time <= samples_.front().at) {
    return samples_.empty() ? LoadSample{} : samples_.front();
  }
  const auto after = std::ranges::lower_bound(samples_, time, {}, &LoadSample::at);
  if (after == samples_.end()) {
    return newest_;
  }
  const LoadSample& right = *after;
  const LoadSample& left = *std::prev(after);
  const double share = inSeconds(time - left.at) / inSeconds(right.at - left.at);
  LoadSample result = left;
  result.waiting_seconds += share * (right.waiting_seconds - left.waiting_seconds);
  result.in_flight_seconds += share * (right.in_flight_seconds - left.in_flight_seconds);
  result.arrivals +=
      static_cast<std::uint64_t>(share * static_cast<double>(right.arrivals - left.arrivals));
  return result;
}

double LoadWindow::demand(Duration length) const {
  const LoadSample then = at(newest_.at - length);
  return (newest_.waiting_seconds - then.waiting_seconds + newest_.in_flight_seconds -
          then.in_flight_seconds) /
         inSeconds(length);
}

double LoadWindow::inFlight(Duration length) const {
  return (newest_.in_flight_seconds - at(newest_.at - length).in_flight_seconds) /
         inSeconds(length);
}

double LoadWindow::arrivalRate(Duration length) const {
  return static_cast<double>(newest_.arrivals - at(newest_.at - length).arrivals) /
         inSeconds(length);
}

}  // namespace penstock::proxy
