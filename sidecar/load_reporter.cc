#include "sidecar/load_reporter.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "sidecar/load_report_stream.h"

namespace penstock::sidecar {
namespace {

constexpr Duration kPace = std::chrono::milliseconds(100);
constexpr Duration kRefreshInterval = std::chrono::seconds(1);

// Exact as a number of any form of report.
constexpr std::uint64_t kIncarnations = 1'000'000'000'000'000;

std::uint64_t newIncarnation() {
  std::random_device random;
  return std::uniform_int_distribution<std::uint64_t>(1, kIncarnations)(random);
}

// The figures that are pushed when they change; the others only drift.
bool sameFigures(const LoadReport& a, const LoadReport& b) {
  return a.in_flight == b.in_flight && a.predict_in_flight == b.predict_in_flight &&
         a.gate_waiting == b.gate_waiting && a.draining == b.draining;
}

}  // namespace

LoadReporter::LoadReporter(net::EventLoop& loop, Metrics& metrics, Executor& executor,
                           const Settings& settings)
    : loop_(loop),
      executor_(executor),
      settings_(settings),
      incarnation_(newIncarnation()),
      system_(settings.system_root),
      system_sample_(system_.read(loop.now())),
      refreshed_at_(loop.now()),
      look_(loop, [this] { look(); }) {
  struct Figure {
    const char* name;
    const char* help;
    double LoadReport::* field;
  };
  static constexpr Figure kFigures[] = {
      {"penstock_application_utilization", "Requests in flight ÷ the concurrency limit",
       &LoadReport::application_utilization},
      {"penstock_cpu_utilization", "CPU used ÷ what may be used", &LoadReport::cpu_utilization},
      {"penstock_memory_utilization", "Memory used ÷ what may be used",
       &LoadReport::mem_utilization},
  };
  for (const Figure& figure : kFigures) {
    metrics.callback(figure.name, figure.help, {}, false,
                     [this, field = figure.field] { return report().*field; });
  }
  metrics.callback("penstock_load_report_streams", "Subscribers of load reports", {}, false,
                   [this] { return static_cast<double>(streams_.size()); });
}

void LoadReporter::refresh() {
  const TimePoint now = loop_.now();
  const Duration passed = now - refreshed_at_;
  if (passed < kRefreshInterval) {
    return;
  }
  system_sample_ = system_.read(now);
  rps_ = static_cast<double>(std::exchange(requests_, 0)) / inSeconds(passed);
  eps_ = static_cast<double>(std::exchange(errors_, 0)) / inSeconds(passed);
  const Duration busy = executor_.gate().busy;
  const double lane_seconds =
      inSeconds(passed) * std::max<std::uint32_t>(1, settings_.predict_concurrency);
  const auto share = [&](Duration lanes) {
    return std::clamp(inSeconds(lanes) / lane_seconds, 0.0, 1.0);
  };
  gate_busy_ = share(busy - std::exchange(busy_at_refresh_, busy));
  if (const auto idle = executor_.idle()) {
    gate_idle_.emplace();
    for (std::size_t reason = 0; reason < idle->size(); ++reason) {
      (*gate_idle_)[reason] = share((*idle)[reason] - idle_at_refresh_[reason]);
    }
    idle_at_refresh_ = *idle;
  }
  refreshed_at_ = now;
}

LoadReport LoadReporter::report() {
  refresh();
  const runtime::PredictGate::Snapshot gate = executor_.gate();
  const auto in_flight = static_cast<std::uint32_t>(executor_.inFlight());
  LoadReport report;
  report.cpu_utilization = system_sample_.cpu_utilization;
  report.mem_utilization = system_sample_.mem_utilization;
  // Who waits at the gate is in flight already, and counts once.
  report.application_utilization =
      settings_.limit == 0 ? 0 : static_cast<double>(in_flight) / settings_.limit;
  report.rps = rps_;
  report.eps = eps_;
  report.in_flight = in_flight;
  report.limit = settings_.limit;
  report.predict_in_flight = static_cast<std::uint32_t>(gate.in_predict);
  report.predict_concurrency = settings_.predict_concurrency;
  report.gate_waiting = static_cast<std::uint32_t>(gate.waiting);
  report.gate_busy = gate_busy_;
  if (gate_idle_.has_value()) {
    using Reason = runtime::LaneIdle::Reason;
    const auto idle = [this](Reason why) { return (*gate_idle_)[static_cast<std::size_t>(why)]; };
    report.gate_idle_no_request = idle(Reason::kNoRequest);
    report.gate_idle_preprocess = idle(Reason::kPreprocess);
    report.gate_idle_hand_over = idle(Reason::kHandOver);
  }
  if (settings_.gpus != nullptr) {
    const GpuMonitor::Load gpus = settings_.gpus->load();
    report.gpu_utilization = gpus.utilization;
    report.gpu_memory = gpus.memory;
  }
  report.draining = draining_;
  report.incarnation = incarnation_;
  return report;
}

void LoadReporter::answered(int status) {
  ++requests_;
  errors_ += status >= 500 ? 1 : 0;
}

void LoadReporter::changed() {
  if (!streams_.empty() && !look_.armed()) {
    look_.arm(std::max(loop_.now(), pushed_at_ + kPace));
  }
}

void LoadReporter::look() {
  const LoadReport now = report();
  if (!pushed_.has_value() || !sameFigures(now, *pushed_)) {
    push(now);
  }
  if (executor_.inFlight() > 0 && !streams_.empty()) {
    look_.armAfter(kPace);
  }
}

void LoadReporter::push(const LoadReport& report) {
  pushed_ = report;
  pushed_at_ = loop_.now();
  const std::vector<LoadReportStream*> streams(streams_.begin(), streams_.end());
  for (LoadReportStream* stream : streams) {
    stream->send(report);
  }
}

void LoadReporter::drain() {
  draining_ = true;
  look_.disarm();
  push(report());
  for (LoadReportStream* stream : std::exchange(streams_, {})) {
    stream->finish();
  }
}

bool LoadReporter::subscribe(LoadReportStream& stream) {
  if (streams_.size() >= kMaxStreams) {
    return false;
  }
  streams_.insert(&stream);
  if (executor_.inFlight() > 0) {
    changed();
  }
  return true;
}

}  // namespace penstock::sidecar
