#include "proxy/scaling/desired_replicas.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penstock::proxy {
namespace {

// A fleet is in a burst when it would have to grow to so many times its size.
constexpr double kBurstFactor = 2;
// Independent requests, as many as their mean says, are more by so many standard deviations (each
// the root of the mean) about once in a thousand windows.
constexpr double kDeviations = 3;
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

// What replicas are needed for, of the demand over so long a time.
double needOver(const LoadWindow& load, Duration length, const ScalingSettings& settings,
                const Fleet& fleet) {
  const double demand = load.demand(length);
  const double service =
      load.serviceSeconds().value_or(inSeconds(shortWindow(settings.autoscaling.window)));
  const double by_arrivals = load.arrivalRate(length) * service;
  // They come as fast as the fleet can serve, or faster: the line does not get shorter. Who waits
  // may be users that come again as soon as they are served, so that the rate says nothing.
  const double slots = static_cast<double>(fleet.ready) * settings.concurrency_target;
  if (fleet.starting == 0 && by_arrivals >= slots) {
    return demand;
  }
  const double steady = std::max(by_arrivals, load.inFlight(length));
  // A new replica comes too late for those who will have been served before it is ready.
  const double waiting = demand - load.inFlight(length);
  const double line = waiting * service / inSeconds(fleet.start_up);
  return std::min(demand, fleet.starting > 0 ? steady : steady + line);
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
  const Duration brief = shortWindow(window);
  const double need = needOver(load, window, settings, fleet);
  const double short_need = needOver(load, brief, settings, fleet);
  DesiredReplicas result{.lasting = replicasFor(need, settings),
                         .burst = replicasFor(short_need, settings),
                         .demand = load.demand(window),
                         .short_demand = load.demand(brief)};

  const LoadSample& now = load.now();
  const bool nobody_serves = fleet.size() == 0 && now.waiting > 0;
  const double over = short_need / capacityOfOne(settings);
  const double by_chance = result.demand + kDeviations * std::sqrt(result.demand);
  result.bursting = nobody_serves || (over >= kBurstFactor * std::max(fleet.size(), 1u) &&
                                      result.short_demand >= by_chance);
  if (result.bursting && fleet.starting == 0) {
    // For everybody who is here: the mean of the short window lags. A first request wakes one
    // replica, not one and room to spare.
    const auto here = static_cast<double>(now.waiting + now.in_flight);
    result.burst =
        std::max(result.burst, nobody_serves ? ceiling(here / settings.concurrency_target)
                                             : replicasFor(here, settings));
  }
  return result;
}

}  // namespace penstock::proxy
