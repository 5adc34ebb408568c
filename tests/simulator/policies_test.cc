#include "simulator/policies.h"

#include <gtest/gtest.h>

#include "simulator/virtual_clock.h"

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

proxy::ScalingSettings settingsAt(std::uint32_t utilization, std::uint32_t target = 1) {
  return {.concurrency_target = target,
          .autoscaling = {.min_replicas = 0,
                          .max_replicas = 10'000,
                          .window = 60s,
                          .scale_down_delay = 0s,
                          .target_utilization = utilization,
                          .max_scale_down_rate = 50}};
}

// Knative's own table: each pod has six times its target, and the fleet grows six times each time.
TEST(KpaPolicy, GrowsInAPanicByWhatTheDemandIs) {
  KpaPolicy kpa(settingsAt(100));
  std::uint32_t ready = 1;
  for (const std::uint32_t expected : {6u, 36u, 216u, 1296u}) {
    const double demand = 6.0 * ready;
    ready = kpa.decide(kStart, demand, demand, ready);
    EXPECT_EQ(ready, expected);
  }
}

// And: ten, a burst to a hundred, which is held for the window and then given up.
TEST(KpaPolicy, HoldsAPanicForAWindow) {
  KpaPolicy kpa(settingsAt(100));
  EXPECT_EQ(kpa.decide(kStart, 10, 10, 1), 10u);
  EXPECT_EQ(kpa.decide(kStart, 10, 100, 1), 100u);
  EXPECT_EQ(kpa.decide(kStart + 30s, 1, 1, 1), 100u);
  EXPECT_EQ(kpa.decide(kStart + 60s, 1, 1, 1), 100u);
  EXPECT_EQ(kpa.decide(kStart + 61s, 1, 1, 1), 1u);
}

TEST(KpaPolicy, GoesDownByHalfAtATimeAndUpAThousandfold) {
  KpaPolicy kpa(settingsAt(100));
  EXPECT_EQ(kpa.decide(kStart, 0, 0, 9), 4u);
  EXPECT_EQ(kpa.decide(kStart, 5'000, 0, 2), 2'000u);
  EXPECT_EQ(kpa.decide(kStart, 0, 0, 1), 0u);
}

proxy::LoadSample readingAt(int second, std::uint64_t here) {
  return {.at = kStart + std::chrono::seconds(second), .in_flight = here};
}

TEST(BasetenPolicy, FollowsTheMeanOfItsReadings) {
  BasetenPolicy baseten(settingsAt(70));
  std::uint32_t replicas = 1;
  for (int second = 0; second < 30; ++second) {
    replicas = baseten.decide(readingAt(second, 10), {.ready = replicas});
  }
  EXPECT_EQ(replicas, 8u) << "half of the window: 5 ÷ 0.7";
  for (int second = 30; second < 60; ++second) {
    replicas = baseten.decide(readingAt(second, 10), {.ready = replicas});
  }
  EXPECT_EQ(replicas, 15u);
}

TEST(BasetenPolicy, GoesDownByTheRateAfterEachDelay) {
  proxy::ScalingSettings settings = settingsAt(70);
  settings.autoscaling.scale_down_delay = 100s;
  BasetenPolicy baseten(settings);
  std::uint32_t replicas = 8;
  std::vector<std::uint32_t> seen;
  for (int second = 0; second <= 303; ++second) {
    replicas = baseten.decide(readingAt(second, 0), {.ready = replicas});
    if (second % 101 == 99 || second % 101 == 100) {
      seen.push_back(replicas);
    }
  }
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{8, 4, 4, 2, 2, 1}));
}

// What the oracle plans, as (from, replicas).
std::vector<std::pair<Duration, std::uint32_t>> planOf(const OraclePolicy& oracle) {
  std::vector<std::pair<Duration, std::uint32_t>> plan;
  OraclePolicy copy = oracle;
  for (TimePoint at = copy.nextAfter(kStart - 1h); at != TimePoint::max();
       at = copy.nextAfter(at)) {
    plan.emplace_back(at - kStart, copy.decide({.at = at}, {}));
  }
  return plan;
}

using Plan = std::vector<std::pair<Duration, std::uint32_t>>;

TEST(OraclePolicy, StartsEachReplicaAStartUpBeforeItIsNeeded) {
  const Load load{.arrivals = {{60s, 20s}, {70s, 5s}}, .length = 80s};
  EXPECT_EQ(planOf(OraclePolicy(settingsAt(70), load, 10s)),
            (Plan{{50s, 1}, {60s, 2}, {75s, 1}, {80s, 0}}));
}

TEST(OraclePolicy, KeepsAReplicaThroughAGapNoLongerThanAStartUp) {
  const Load load{.arrivals = {{60s, 10s}, {80s, 10s}}, .length = 90s};
  EXPECT_EQ(planOf(OraclePolicy(settingsAt(70), load, 10s)), (Plan{{50s, 1}, {90s, 0}}));
  EXPECT_EQ(planOf(OraclePolicy(settingsAt(70), load, 9s)),
            (Plan{{51s, 1}, {70s, 0}, {71s, 1}, {90s, 0}}));
}

TEST(OraclePolicy, FillsAReplicaToItsTargetAndStaysWithinTheBounds) {
  Load load{.length = 20s};
  load.arrivals.assign(9, {.at = 10s, .service = 10s});
  proxy::ScalingSettings settings = settingsAt(70, 4);
  EXPECT_EQ(planOf(OraclePolicy(settings, load, 1s)), (Plan{{9s, 3}, {20s, 0}}));
  settings.autoscaling.min_replicas = 1;
  settings.autoscaling.max_replicas = 2;
  EXPECT_EQ(planOf(OraclePolicy(settings, load, 1s)), (Plan{{9s, 2}, {20s, 1}}));
}

}  // namespace
}  // namespace penstock::simulator
