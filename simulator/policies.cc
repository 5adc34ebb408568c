#include "simulator/policies.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "simulator/virtual_clock.h"

namespace penstock::simulator {
namespace {

using std::chrono::seconds;

std::uint32_t clamped(std::uint32_t replicas, const proxy::AutoscalingConfig& limits) {
  return std::clamp(replicas, limits.min_replicas, limits.max_replicas);
}

}  // namespace

TimePoint PenstockPolicy::nextAfter(TimePoint now) const {
  return now + seconds(1);
}

std::uint32_t PenstockPolicy::decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) {
  return policy_.decide(sample, settings_, fleet).replicas;
}

TimePoint BasetenPolicy::nextAfter(TimePoint now) const {
  return now + seconds(1);
}

std::uint32_t BasetenPolicy::decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) {
  const proxy::AutoscalingConfig& limits = settings_.autoscaling;
  readings_.push_back(sample.in_flight + sample.waiting);
  const auto length = static_cast<std::size_t>(limits.window / seconds(1));
  if (readings_.size() > length) {
    readings_.pop_front();
  }
  const auto sum = std::accumulate(readings_.begin(), readings_.end(), std::uint64_t{0});
  const double mean = static_cast<double>(sum) / static_cast<double>(length);
  const std::uint32_t wanted = clamped(proxy::replicasFor(mean, settings_), limits);
  const std::uint32_t current = fleet.size();
  if (wanted >= current) {
    lower_since_.reset();
    return wanted;
  }
  if (!lower_since_) {
    lower_since_ = sample.at;
    highest_lower_ = 0;
  }
  highest_lower_ = std::max(highest_lower_, wanted);
  if (sample.at - *lower_since_ < limits.scale_down_delay) {
    return current;
  }
  lower_since_.reset();
  const std::uint32_t may_go = std::max(current * limits.max_scale_down_rate / 100, 1u);
  return std::max(highest_lower_, current - may_go);
}

TimePoint KpaPolicy::nextAfter(TimePoint now) const {
  return now + seconds(2);
}

std::uint32_t KpaPolicy::decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) {
  const Duration window = settings_.autoscaling.window;
  load_.add(sample, window);
  return decide(sample.at, load_.demand(window), load_.demand(window / 10), fleet.ready);
}

std::uint32_t KpaPolicy::decide(TimePoint now, double stable, double panic, std::uint32_t ready) {
  const double pods = std::max(ready, 1u);
  const auto most = static_cast<std::uint32_t>(std::min(1000 * pods, 1e9));
  // Knative floors it: from one it may go to none.
  const auto least = static_cast<std::uint32_t>(ready / 2);
  const std::uint32_t by_stable = std::clamp(proxy::replicasFor(stable, settings_), least, most);
  const std::uint32_t wanted_in_panic = proxy::replicasFor(panic, settings_);
  const std::uint32_t by_panic = std::clamp(wanted_in_panic, least, most);
  if (wanted_in_panic / pods >= 2) {
    panic_since_ = now;
  } else if (panic_since_ && now - *panic_since_ > settings_.autoscaling.window) {
    panic_since_.reset();
    panic_peak_ = 0;
  }
  std::uint32_t replicas = by_stable;
  if (panic_since_) {
    panic_peak_ = std::max({panic_peak_, by_panic, by_stable});
    replicas = panic_peak_;
  }
  return clamped(replicas, settings_.autoscaling);
}

TimePoint FixedPolicy::nextAfter(TimePoint now) const {
  return now + std::chrono::hours(1);
}

OraclePolicy::OraclePolicy(const proxy::ScalingSettings& settings, const Load& load,
                           Duration start_up) {
  const proxy::AutoscalingConfig& limits = settings.autoscaling;
  std::map<Duration, std::int64_t> changes;
  // For each replica: since when it is needed, or when it was last.
  struct Use {
    Duration from;
    std::optional<Duration> until;
  };
  std::vector<Use> uses;
  const auto close = [&](const Use& use) {
    ++changes[use.from - start_up];
    --changes[*use.until];
  };
  const auto needed = [&](const Step& step) {
    const std::uint64_t n =
        (std::uint64_t{step.value} + settings.concurrency_target - 1) / settings.concurrency_target;
    return static_cast<std::size_t>(std::min<std::uint64_t>(n, limits.max_replicas));
  };
  for (const Step& step : unlimitedInFlight(load)) {
    const std::size_t n = needed(step);
    for (std::size_t k = 0; k < n; ++k) {
      if (k == uses.size()) {
        uses.push_back({.from = step.from, .until = std::nullopt});
      } else if (uses[k].until.has_value() && step.from - *uses[k].until > start_up) {
        close(uses[k]);
        uses[k] = {.from = step.from, .until = std::nullopt};
      } else {
        uses[k].until.reset();
      }
    }
    for (std::size_t k = n; k < uses.size(); ++k) {
      if (!uses[k].until.has_value()) {
        uses[k].until = step.from;
      }
    }
  }
  for (Use& use : uses) {
    use.until = use.until.value_or(load.length);
    close(use);
  }
  std::int64_t replicas = 0;
  for (const auto& [time, change] : changes) {
    replicas += change;
    plan_.push_back({.from = time, .value = clamped(static_cast<std::uint32_t>(replicas), limits)});
  }
}

TimePoint OraclePolicy::nextAfter(TimePoint now) const {
  const auto next = std::ranges::upper_bound(plan_, now - kStart, {}, &Step::from);
  return next == plan_.end() ? TimePoint::max() : kStart + next->from;
}

std::uint32_t OraclePolicy::decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) {
  const auto next = std::ranges::upper_bound(plan_, sample.at - kStart, {}, &Step::from);
  return next == plan_.begin() ? fleet.size() : std::prev(next)->value;
}

}  // namespace penstock::simulator
