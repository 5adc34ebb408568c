#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>

#include "simulator/figures.h"
#include "simulator/policies.h"
#include "simulator/simulation.h"
#include "simulator/synthetic_load.h"

// What the simulations of the autoscaler share: scenarios in few words, and questions to outcomes.
namespace penstock::simulator {

using namespace std::chrono_literals;

inline std::unique_ptr<Policy> policyNamed(std::string_view name, const Scenario& scenario) {
  if (name == "baseten") {
    return std::make_unique<BasetenPolicy>(scenario.settings);
  }
  if (name == "kpa") {
    return std::make_unique<KpaPolicy>(scenario.settings);
  }
  if (name == "oracle") {
    return std::make_unique<OraclePolicy>(scenario.settings, scenario.load,
                                          scenario.start_up.longest);
  }
  return std::make_unique<PenstockPolicy>(scenario.settings);
}

inline Outcome runWith(std::string_view policy, const Scenario& scenario) {
  return simulate(scenario, *policyNamed(policy, scenario));
}

// Target 1, 70 %, 1 to 1000 replicas that start within a second; one is ready; no delay.
inline Scenario scenarioOf(Load load) {
  Scenario scenario;
  scenario.load = std::move(load);
  scenario.settings.autoscaling = {.min_replicas = 1,
                                   .max_replicas = 1'000,
                                   .window = 60s,
                                   .scale_down_delay = 0s,
                                   .target_utilization = 70,
                                   .max_scale_down_rate = 50};
  scenario.start_up = {.shortest = 1s, .longest = 1s};
  scenario.initial_replicas = 1;
  return scenario;
}

// Users with a request of one second each, as many as each step says.
inline Load usersOf(std::vector<Users> users, Duration length, Duration service = 1s) {
  return {.users = std::move(users), .service = {.mean = service}, .length = length};
}

inline std::uint32_t desiredAt(const Outcome& outcome, Duration time) {
  const auto next = std::ranges::upper_bound(outcome.desired, time, {}, &Step::from);
  return next == outcome.desired.begin() ? 0 : std::prev(next)->value;
}

inline std::uint32_t mostDesired(const Outcome& outcome) {
  return std::ranges::max(outcome.desired, {}, &Step::value).value;
}

// How long from then until so many were desired; never: an hour.
inline Duration untilDesired(const Outcome& outcome, std::uint32_t replicas, Duration then) {
  for (const Step& step : outcome.desired) {
    if (step.from >= then && step.value >= replicas) {
      return step.from - then;
    }
  }
  return 1h;
}

inline std::size_t waitedLongerThan(const Outcome& outcome, float seconds) {
  return static_cast<std::size_t>(
      std::ranges::count_if(outcome.waits_seconds, [&](float w) { return w > seconds; }));
}

}  // namespace penstock::simulator
