#pragma once

#include <deque>
#include <optional>

#include "proxy/scaling/scaling_policy.h"
#include "simulator/load.h"
#include "simulator/policy.h"

namespace penstock::simulator {

// Penstock's own rule, as the proxy runs it: once a second, and at once when somebody waits and
// there is no fleet.
class PenstockPolicy final : public Policy {
 public:
  explicit PenstockPolicy(const proxy::ScalingSettings& settings) : settings_(settings) {}
  std::string_view name() const override { return "penstock"; }
  TimePoint nextAfter(TimePoint now) const override;
  std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override;
  std::uint32_t wake(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override {
    return decide(sample, fleet);
  }

 private:
  const proxy::ScalingSettings settings_;
  proxy::ScalingPolicy policy_;
};

// Baseten's rule as its documentation has it: a gauge of the requests here is read once a second;
// the mean of its readings over the window, divided by target × utilization, is followed upwards at
// once and downwards when it has been lower for scale_down_delay, by max_scale_down_rate each time.
class BasetenPolicy final : public Policy {
 public:
  explicit BasetenPolicy(const proxy::ScalingSettings& settings) : settings_(settings) {}
  std::string_view name() const override { return "baseten"; }
  TimePoint nextAfter(TimePoint now) const override;
  std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override;

 private:
  const proxy::ScalingSettings settings_;
  std::deque<std::uint64_t> readings_;
  std::optional<TimePoint> lower_since_;
  std::uint32_t highest_lower_ = 0;  // wanted since then
};

// Knative's pod autoscaler (KPA): every 2 s from the means over 60 s and 6 s (of the window and a
// tenth of it); a panic when the short mean asks for twice the ready pods or more, until the long
// window has passed since the last such tick, without scaling down meanwhile. Its means are exact
// here, which is kinder to it than its samples are.
class KpaPolicy final : public Policy {
 public:
  explicit KpaPolicy(const proxy::ScalingSettings& settings) : settings_(settings) {}
  std::string_view name() const override { return "kpa"; }
  TimePoint nextAfter(TimePoint now) const override;
  std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override;
  // The rule alone: from the two means.
  std::uint32_t decide(TimePoint now, double stable, double panic, std::uint32_t ready);

 private:
  const proxy::ScalingSettings settings_;
  proxy::LoadWindow load_;
  std::optional<TimePoint> panic_since_;
  std::uint32_t panic_peak_ = 0;
};

class FixedPolicy final : public Policy {
 public:
  explicit FixedPolicy(std::uint32_t replicas) : replicas_(replicas) {}
  std::string_view name() const override { return "fixed"; }
  TimePoint nextAfter(TimePoint now) const override;
  std::uint32_t decide(const proxy::LoadSample&, const proxy::Fleet&) override { return replicas_; }
  std::uint32_t wake(const proxy::LoadSample&, const proxy::Fleet&) override { return replicas_; }

 private:
  const std::uint32_t replicas_;
};

// Knows what will come. The cheapest fleet in which nobody waits (as far as max_replicas allows):
// the k-th replica is ready whenever an unlimited fleet would have more than (k-1) × target
// requests in flight; it is started one start-up time before, and kept through a gap that is no
// longer than a start-up, since stopping and starting would cost as much.
class OraclePolicy final : public Policy {
 public:
  OraclePolicy(const proxy::ScalingSettings& settings, const Load& load, Duration start_up);
  std::string_view name() const override { return "oracle"; }
  TimePoint nextAfter(TimePoint now) const override;
  std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override;

 private:
  std::vector<Step> plan_;
};

}  // namespace penstock::simulator
