#include "model_runtime/runtime_metrics.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>

namespace penstock::runtime {
namespace {

constexpr char kRequestsName[] = "penstock_requests_total";
constexpr char kRequestsHelp[] =
    "Requests that ended, by the stage they ended in (admission: never begun) and how";

// What is heard of late can make a sum a little smaller than it seemed to be; a counter that falls
// is taken for one that began anew.
std::function<double()> neverLess(std::function<double()> read) {
  return [read = std::move(read), most = 0.0]() mutable { return most = std::max(most, read()); };
}

}  // namespace

double BusyShare::read(TimePoint now, Duration busy) {
  const bool ends_window = now - from_ >= std::chrono::seconds(1);
  if (!ends_window && !in_first_window_) {
    return last_;
  }
  if (now > from_) {
    last_ = std::clamp(inSeconds(busy - busy_from_) / (inSeconds(now - from_) * lanes_), 0.0, 1.0);
  }
  if (ends_window) {
    in_first_window_ = false;
    from_ = now;
    busy_from_ = busy;
  }
  return last_;
}

RuntimeMetrics::RuntimeMetrics(Metrics& metrics, const Clock& clock, const PredictGate& gate,
                               const LaneIdle& lanes)
    : metrics_(metrics),
      refused_(metrics.counter(kRequestsName, kRequestsHelp,
                               {{"stage", "admission"}, {"outcome", "refused"}})),
      gap_seconds_(metrics.histogram(
          "penstock_gate_gap_seconds",
          "How long a lane stood idle before a predict although the request was ready", {},
          {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05,
           0.1, 0.2, 0.5, 1})),
      busy_share_(gate.lanes(), clock.now()) {
  for (const Stage stage :
       {Stage::kPreprocess, Stage::kGate, Stage::kPredict, Stage::kPostprocess}) {
    stage_seconds_[static_cast<std::size_t>(stage)] =
        metrics.histogram("penstock_stage_seconds",
                          "Time that requests spent in each stage (gate: waiting for a lane)",
                          {{"stage", std::string(toString(stage))}}, Metrics::latencyBounds());
  }
  metrics.callback("penstock_gate_waiting", "Requests ready and waiting for a lane", {}, false,
                   [&gate] { return static_cast<double>(gate.snapshot().waiting); });
  metrics.callback("penstock_gate_in_predict", "Requests inside predict", {}, false,
                   [&gate] { return static_cast<double>(gate.snapshot().in_predict); });
  metrics.callback("penstock_gate_busy_seconds_total", "Lane-seconds spent in predict", {}, true,
                   neverLess([&gate] { return inSeconds(gate.snapshot().busy); }));
  metrics.callback("penstock_gate_busy_share",
                   "Share of the lanes in predict since the last reading that is at least 1 s ago",
                   {}, false, [this, &clock, &gate] {
                     std::lock_guard lock(share_mutex_);
                     return busy_share_.read(clock.now(), gate.snapshot().busy);
                   });
  for (const auto& [reason, word] : {std::pair(LaneIdle::Reason::kNoRequest, "no_request"),
                                     std::pair(LaneIdle::Reason::kPreprocess, "preprocess"),
                                     std::pair(LaneIdle::Reason::kHandOver, "hand_over")}) {
    metrics.callback(
        "penstock_gate_idle_seconds_total",
        "Lane-seconds not in predict, by what the lane waited for: anything at all, a "
        "request in preprocess, or one that was ready",
        {{"reason", word}}, true, neverLess([&lanes, &clock, reason = reason] {
          return inSeconds(lanes.totals(clock.now())[static_cast<std::size_t>(reason)]);
        }));
  }
}

void RuntimeMetrics::ended(const Outcome& outcome) {
  const auto key = std::pair(outcome.stage, outcomeName(outcome));
  std::lock_guard lock(ended_mutex_);
  auto at = ended_.find(key);
  if (at == ended_.end()) {
    Counter counter = metrics_.counter(
        kRequestsName, kRequestsHelp,
        {{"stage", std::string(toString(key.first))}, {"outcome", std::string(key.second)}});
    at = ended_.emplace(key, counter).first;
  }
  at->second.add();
}

void RuntimeMetrics::stageTook(Stage stage, Duration time) {
  stage_seconds_[static_cast<std::size_t>(stage)].observe(inSeconds(time));
}

void RuntimeMetrics::gap(Duration time) {
  gap_seconds_.observe(inSeconds(time));
}

}  // namespace penstock::runtime
