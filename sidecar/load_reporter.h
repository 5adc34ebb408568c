#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "base/load_report/load_report.h"
#include "base/metrics.h"
#include "model_runtime/lane_idle.h"
#include "net/event_loop.h"
#include "sidecar/executor.h"
#include "sidecar/gpu_monitor.h"
#include "sidecar/system_load.h"

namespace penstock::sidecar {

class LoadReportStream;

// What this sidecar says about itself: makes reports, and pushes one to every subscribed stream
// when a figure has changed, at most every 100 ms. What changes on the model's own threads is
// looked for at that pace, while requests are in flight; otherwise, and while nobody listens, no
// timer runs here. CPU, memory and the rates are those of the last second or longer. Loop thread
// only.
class LoadReporter {
 public:
  struct Settings {
    std::uint32_t limit = 0;  // requests taken at a time
    std::uint32_t predict_concurrency = 0;
    std::string system_root = "/";
    const GpuMonitor* gpus = nullptr;  // outlives the reporter; null: nothing is said of them
  };
  static constexpr std::size_t kMaxStreams = 64;

  // executor outlives this.
  LoadReporter(net::EventLoop& loop, Metrics& metrics, Executor& executor,
               const Settings& settings);

  LoadReport report();

  // A request was taken, or has ended, or readiness has changed.
  void changed();
  void answered(int status);
  // From now on reports say so, and streams end after their next report, so that they do not hold
  // up the drain.
  void drain();
  bool draining() const { return draining_; }

  // False: there are enough.
  bool subscribe(LoadReportStream& stream);
  void unsubscribe(LoadReportStream& stream) { streams_.erase(&stream); }
  net::EventLoop& loop() { return loop_; }

 private:
  void refresh();
  void look();
  void push(const LoadReport& report);

  net::EventLoop& loop_;
  Executor& executor_;
  const Settings settings_;
  const std::uint64_t incarnation_;
  SystemLoad system_;
  SystemLoad::Sample system_sample_;
  TimePoint refreshed_at_;
  std::uint64_t requests_ = 0;  // since then
  std::uint64_t errors_ = 0;
  double rps_ = 0;
  double eps_ = 0;
  Duration busy_at_refresh_{};
  double gate_busy_ = 0;
  runtime::LaneIdle::Totals idle_at_refresh_{};
  std::optional<std::array<double, runtime::LaneIdle::kReasons>> gate_idle_;
  bool draining_ = false;
  std::set<LoadReportStream*> streams_;
  std::optional<LoadReport> pushed_;
  TimePoint pushed_at_{};
  net::Timer look_;
};

}  // namespace penstock::sidecar
