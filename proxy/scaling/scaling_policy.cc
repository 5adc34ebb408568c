#include "proxy/scaling/scaling_policy.h"

#include <algorithm>

namespace penstock::proxy {

std::string_view toString(ScalingReason reason) {
  switch (reason) {
    case ScalingReason::kDemand:
      return "demand";
    case ScalingReason::kBurst:
      return "burst";
    case ScalingReason::kFromZero:
      return "from_zero";
    case ScalingReason::kAfterBurst:
      return "after_burst";
    case ScalingReason::kScaleDownDelay:
      return "scale_down_delay";
    case ScalingReason::kScaleDownRate:
      return "scale_down_rate";
    case ScalingReason::kWaiting:
      return "waiting";
    case ScalingReason::kMinReplicas:
      return "min_replicas";
    case ScalingReason::kMaxReplicas:
      return "max_replicas";
  }
  return "demand";
}

void ScalingPolicy::Highest::add(TimePoint now, std::uint32_t replicas, Duration length) {
  while (!values_.empty() && values_.back().replicas <= replicas) {
    values_.pop_back();
  }
  values_.push_back({now, replicas});
  while (values_.front().time < now - length) {
    values_.pop_front();
  }
}

ScalingDecision ScalingPolicy::decide(const LoadSample& sample, const ScalingSettings& settings,
                                      const Fleet& fleet) {
  const AutoscalingConfig& limits = settings.autoscaling;
  const TimePoint now = sample.at;
  load_.add(sample, limits.window);

  ScalingDecision decision;
  decision.desired = desiredReplicas(load_, settings, fleet);
  if (decision.desired.bursting) {
    last_burst_ = now;
  }
  const bool after_burst = last_burst_.has_value() && now - *last_burst_ < limits.window;

  std::uint32_t replicas = decision.desired.lasting;
  const auto raise = [&](std::uint32_t to, ScalingReason why) {
    if (to > replicas) {
      replicas = to;
      decision.reason = why;
    }
  };
  if (decision.desired.bursting && decision.desired.burst >= replicas) {
    replicas = decision.desired.burst;
    decision.reason = fleet.size() == 0 ? ScalingReason::kFromZero : ScalingReason::kBurst;
  } else if (after_burst) {
    raise(decision.desired.burst, ScalingReason::kBurst);
  }
  wanted_.add(now, std::min(replicas, limits.max_replicas), limits.scale_down_delay);
  if (after_burst) {
    raise(fleet.size(), ScalingReason::kAfterBurst);
  }
  raise(wanted_.value(), ScalingReason::kScaleDownDelay);
  decided_.add(now, fleet.size(), std::max(limits.scale_down_delay, limits.window));
  const std::uint32_t from = decided_.value();
  const std::uint32_t may_go = std::max(from * limits.max_scale_down_rate / 100, 1u);
  raise(std::min(fleet.size(), from - std::min(from, may_go)), ScalingReason::kScaleDownRate);
  if (sample.waiting > 0) {
    raise(fleet.size(), ScalingReason::kWaiting);
  }

  // What the operator says holds at once, in both directions.
  raise(limits.min_replicas, ScalingReason::kMinReplicas);
  if (replicas > limits.max_replicas) {
    replicas = limits.max_replicas;
    decision.reason = ScalingReason::kMaxReplicas;
  }
  decision.replicas = replicas;
  return decision;
}

}  // namespace penstock::proxy
