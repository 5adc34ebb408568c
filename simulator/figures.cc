#include "simulator/figures.h"

#include <algorithm>
#include <cmath>

namespace penstock::simulator {
namespace {

// The smallest value that so great a share of all does not exceed.
double quantile(std::vector<float>& sorted, double share) {
  if (sorted.empty()) {
    return 0;
  }
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1]);
}

}  // namespace

std::uint64_t reversals(const std::vector<Step>& steps) {
  constexpr double kFactor = 2;
  constexpr Duration kSoon = std::chrono::minutes(10);
  struct Extreme {
    Duration at{};
    double value = 0;
  };
  if (steps.empty()) {
    return 0;
  }
  const auto extremeAt = [](const Step& step) {
    return Extreme{.at = step.from, .value = step.value == 0 ? 0.5 : step.value};
  };
  // The direction of the swing that is going on, where it began, and the farthest it has come.
  int direction = 0;
  Extreme origin = extremeAt(steps.front());
  Extreme low = origin;
  Extreme high = origin;
  std::uint64_t count = 0;
  for (const Step& step : steps) {
    const Extreme here = extremeAt(step);
    if (here.value > high.value) {
      high = here;
    }
    if (here.value < low.value) {
      low = here;
    }
    const bool rises = direction <= 0 && here.value >= kFactor * low.value;
    const bool falls = direction >= 0 && high.value >= kFactor * here.value;
    if (!rises && !falls) {
      continue;
    }
    const Extreme turn = rises ? low : high;
    count += direction != 0 && here.at - origin.at <= kSoon ? 1 : 0;
    direction = rises ? 1 : -1;
    origin = turn;
    low = here;
    high = here;
  }
  return count;
}

Figures figuresOf(Outcome& outcome, Duration length) {
  std::ranges::sort(outcome.waits_seconds);
  const double seconds = std::chrono::duration<double>(length).count();
  return {.replica_seconds = outcome.replica_seconds,
          .wait_p50 = quantile(outcome.waits_seconds, 0.50),
          .wait_p95 = quantile(outcome.waits_seconds, 0.95),
          .wait_p99 = quantile(outcome.waits_seconds, 0.99),
          .wait_max = quantile(outcome.waits_seconds, 1),
          .somebody_waits_share = outcome.somebody_waited_seconds / seconds,
          .idle_while_waiting_share = outcome.idle_while_waiting_seconds / seconds,
          .reversals = reversals(outcome.desired),
          .peak_replicas = outcome.peak_replicas,
          .requests = outcome.arrived};
}

}  // namespace penstock::simulator
