#include "proxy/scaling/desired_replicas.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penstock::proxy {
namespace {

// A fleet is in a burst when it would have to grow to so many times its size.
constexpr double kBurstFactor = 2;
// What a sum of doubles may be off, so that 7 ÷ 0.7 is 10 and not 11.
constexpr double kRounding = 1e-9;

// How much demand one replica is made for.
double capacityOfOne(const ScalingSettings& settings) {
  return settings.concurrency_target * (settings.autoscaling.target_utilization / 100.0);
}

std::uint32_t ceiling(double replicas) {
  return static_cast<std::uint32_t>(
      std::clamp(std::ceil(replicas - kRounding), 0.0,
                 static_cast<double>(std::numeric_limits<std::uint32_t>::max())));
}

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

double demandOver(const LoadWindow& load, Duration length, Duration window, const Fleet& fleet) {
  const double demand = load.demand(length);
  if (fleet.starting == 0) {
    return demand;
  }
  const double service = load.serviceSeconds().value_or(seconds(shortWindow(window)));
  const double by_arrivals = load.arrivalRate(length) * service;
  return std::min(demand, std::max(by_arrivals, load.inFlight(length)));
}

}  // namespace

Duration shortWindow(Duration window) {
  return std::max<Duration>(window / 10, std::chrono::seconds(1));
}

std::uint32_t replicasFor(double demand, const ScalingSettings& settings) {
  return ceiling(demand / capacityOfOne(settings));
}

DesiredReplicas desiredReplicas(const LoadWindow& load, const ScalingSettings& settings,
                                const Fleet& fleet) {
  const Duration window = settings.autoscaling.window;
  DesiredReplicas result;
  result.demand = demandOver(load, window, window, fleet);
  result.short_demand = demandOver(load, shortWindow(window), window, fleet);
  result.lasting = replicasFor(result.demand, settings);
  result.burst = replicasFor(result.short_demand, settings);

  const LoadSample& now = load.now();
  const bool nobody_serves = fleet.size() == 0 && now.waiting > 0;
  const double over = result.short_demand / capacityOfOne(settings);
  result.bursting = nobody_serves || over >= kBurstFactor * std::max(fleet.size(), 1u);
  if (result.bursting && fleet.starting == 0) {
    // Enough for everybody who is here, without room to spare: the mean of the short window lags.
    const auto here = static_cast<double>(now.waiting + now.in_flight);
    result.burst = std::max(result.burst, ceiling(here / settings.concurrency_target));
  }
  return result;
}

}  // namespace penstock::proxy
