#pragma once

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/metrics.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/outcome.h"
#include "model_runtime/predict_gate.h"

namespace penstock::runtime {

// The share of a gate's lanes that was in predict over the last window. A window ends with a
// reading, at least a second after it began; earlier readings repeat the last window's share (the
// first window's, of which nothing is known before, so far). One thread at a time.
class BusyShare {
 public:
  BusyShare(std::size_t lanes, TimePoint now) : lanes_(static_cast<double>(lanes)), from_(now) {}
  // now: not before the last reading's. busy: lane-time in predict until now. 0 … 1.
  double read(TimePoint now, Duration busy);

 private:
  const double lanes_;
  bool in_first_window_ = true;
  TimePoint from_;
  Duration busy_from_{};
  double last_ = 0;
};

// What a runtime counts. Thread-safe.
class RuntimeMetrics {
 public:
  // gate, lanes: read when the page is rendered.
  RuntimeMetrics(Metrics& metrics, const Clock& clock, const PredictGate& gate,
                 const LaneIdle& lanes);

  void ended(const Outcome& outcome);
  void refused() { refused_.add(); }
  void stageTook(Stage stage, Duration time);
  void gap(Duration time);

 private:
  Metrics& metrics_;
  Counter refused_;
  std::array<Histogram, 4> stage_seconds_;
  Histogram gap_seconds_;
  std::mutex ended_mutex_;
  std::map<std::pair<Stage, std::string_view>, Counter> ended_;
  // Not the same: the page's lock is held when the share is read, and taken when a counter is made.
  std::mutex share_mutex_;
  BusyShare busy_share_;
};

}  // namespace penstock::runtime
