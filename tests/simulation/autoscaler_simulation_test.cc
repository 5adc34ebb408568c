// The autoscaler with the real admission queue in virtual time: the numbers that it is to reach,
// beside those of the rules it is compared with, and what must hold whatever the load.

#include <gtest/gtest.h>

#include "tests/simulation/autoscaler_fixture.h"

namespace penstock::simulator {
namespace {

// Step 0 → 10 concurrent, target 1, one replica. In the end 15 are wanted (10 ÷ 0.7). KPA's short
// mean needs its 6 s to contain the whole step, Baseten's mean its 60 s. Penstock notices the burst
// when its short mean is at twice what the fleet is made for, which is after one second, and then
// counts who is here and not the mean.
TEST(AutoscalerSimulation, ReachesAStepFromNoneToTenAtLeastAsFastAsKpa) {
  const Scenario scenario = scenarioOf(usersOf({{.from = 120s, .count = 10}}, 400s));
  const Outcome ours = runWith("penstock", scenario);
  const Outcome kpa = runWith("kpa", scenario);
  const Outcome baseten = runWith("baseten", scenario);
  EXPECT_EQ(untilDesired(ours, 15, 120s), 1s);
  EXPECT_EQ(untilDesired(kpa, 15, 120s), 6s);
  EXPECT_GE(untilDesired(baseten, 15, 120s), 57s);
  EXPECT_LE(untilDesired(baseten, 15, 120s), 60s);
  // A replica for everybody.
  EXPECT_EQ(untilDesired(kpa, 10, 120s), 4s);
  EXPECT_GE(untilDesired(baseten, 10, 120s), 36s);
}

TEST(AutoscalerSimulation, ServesAHundredFromZero) {
  Scenario scenario = scenarioOf(usersOf({{.from = 100s, .count = 100}}, 200s));
  scenario.settings.autoscaling.min_replicas = 0;
  scenario.settings.autoscaling.max_replicas = 10;
  scenario.initial_replicas = 0;
  const Outcome outcome = runWith("penstock", scenario);
  EXPECT_EQ(untilDesired(outcome, 10, 100s), 0s);
  EXPECT_EQ(outcome.waits_seconds.size(), outcome.arrived);
  EXPECT_GT(outcome.arrived, 900u);
  EXPECT_EQ(outcome.most_on_one_replica, 1u);
  EXPECT_EQ(mostDesired(outcome), 10u);
}

TEST(AutoscalerSimulation, GivesTheFirstReadyReplicaItsTargetOfFiveThousand) {
  Load load{.length = 300s};
  load.arrivals.assign(5'000, {.at = 1s, .service = 500ms});
  Scenario scenario = scenarioOf(std::move(load));
  scenario.settings.concurrency_target = 4;
  scenario.settings.autoscaling.min_replicas = 0;
  scenario.settings.autoscaling.max_replicas = 20;
  scenario.initial_replicas = 0;
  // They do not become ready together.
  scenario.start_up = {.shortest = 5s, .longest = 40s};
  const Outcome outcome = runWith("penstock", scenario);
  EXPECT_EQ(outcome.waits_seconds.size(), 5'000u);
  EXPECT_EQ(outcome.most_on_one_replica, 4u);
  EXPECT_EQ(outcome.idle_while_waiting_seconds, 0);
}

TEST(AutoscalerSimulation, NewReplicasTakeWorkInTheMomentThatTheyAreReady) {
  Scenario scenario = scenarioOf(usersOf({{.from = 60s, .count = 100}}, 120s));
  scenario.settings.autoscaling.max_replicas = 4;
  scenario.start_up = {.shortest = 5s, .longest = 20s};
  const Outcome outcome = runWith("penstock", scenario);
  EXPECT_EQ(outcome.idle_while_waiting_seconds, 0);
  ASSERT_EQ(outcome.timeline.back().ready, 4u);
  for (const Moment& moment : outcome.timeline) {
    if (moment.at > 60s) {
      ASSERT_EQ(moment.in_flight, moment.ready) << moment.at.count();
    }
  }
}

TEST(AutoscalerSimulation, LosesNoRequestInAHundredScaleDowns) {
  Scenario scenario = scenarioOf(generate({.shape = Shape::kOnOff,
                                           .low = 2,
                                           .high = 30,
                                           .period = 6min,
                                           .length = 2h,
                                           .service = {.mean = 5s, .exponential = true}}));
  scenario.settings.concurrency_target = 2;
  const Outcome outcome = runWith("penstock", scenario);
  EXPECT_GE(outcome.scale_downs, 100u);
  EXPECT_EQ(outcome.waits_seconds.size(), outcome.arrived);
  EXPECT_EQ(outcome.arrived, scenario.load.arrivals.size());
  EXPECT_EQ(outcome.most_on_one_replica, 2u);
}

TEST(AutoscalerSimulation, GoesToZeroAndBack) {
  Scenario scenario = scenarioOf(usersOf(
      {{.from = 10s, .count = 3}, {.from = 60s, .count = 0}, {.from = 900s, .count = 3}}, 1'000s));
  scenario.settings.autoscaling.min_replicas = 0;
  scenario.initial_replicas = 0;
  const Outcome outcome = runWith("penstock", scenario);
  EXPECT_EQ(desiredAt(outcome, 5s), 0u);
  EXPECT_GE(desiredAt(outcome, 10s), 3u);
  EXPECT_EQ(desiredAt(outcome, 890s), 0u);
  EXPECT_GE(desiredAt(outcome, 900s), 3u);
}

class SteadyShapes : public ::testing::TestWithParam<std::pair<Shape, Duration>> {};

// Of a load that swings faster than the window, the fleet follows the peaks; of a slower one the
// swings. It never turns round more often than the demand.
TEST_P(SteadyShapes, TurnRoundNoMoreOftenThanTheDemand) {
  const auto& [shape, period] = GetParam();
  for (const bool closed : {true, false}) {
    const SyntheticLoad synthetic{.shape = shape,
                                  // Of less, chance alone makes twice as much.
                                  .low = 10,
                                  .high = 60,
                                  .period = period,
                                  .length = 90min,
                                  .service = {.mean = 2s},
                                  .closed_loop = closed};
    SyntheticLoad ideal = synthetic;
    ideal.closed_loop = true;
    const std::uint64_t of_demand = reversals(unlimitedInFlight(generate(ideal)));
    Outcome outcome = runWith("penstock", scenarioOf(generate(synthetic)));
    // The first rise, from the one replica that there is at the start, is no turn of the demand.
    EXPECT_LE(reversals(outcome.desired), of_demand + 1) << (closed ? "closed" : "open") << " loop";
  }
}

INSTANTIATE_TEST_SUITE_P(AutoscalerSimulation, SteadyShapes,
                         ::testing::Values(std::pair{Shape::kRamp, Duration(5min)},
                                           std::pair{Shape::kSawtooth, Duration(30s)},
                                           std::pair{Shape::kSawtooth, Duration(4min)},
                                           std::pair{Shape::kSawtooth, Duration(15min)},
                                           std::pair{Shape::kOnOff, Duration(20s)},
                                           std::pair{Shape::kOnOff, Duration(3min)},
                                           std::pair{Shape::kOnOff, Duration(20min)},
                                           std::pair{Shape::kStep, Duration(30min)}));

TEST(AutoscalerSimulation, ConvergesOnAConstantLoad) {
  for (const std::uint32_t users : {1u, 3u, 7u, 25u, 60u}) {
    for (const std::uint32_t target : {1u, 4u, 10u}) {
      for (const Duration start_up : {Duration(1s), Duration(45s)}) {
        Scenario scenario = scenarioOf(usersOf({{.from = 5s, .count = users}}, 10min, 2s));
        scenario.settings.concurrency_target = target;
        scenario.start_up = {.shortest = start_up, .longest = start_up};
        const Outcome outcome = runWith("penstock", scenario);
        const std::uint32_t right = proxy::replicasFor(users, scenario.settings);
        for (Duration at = 8min; at < 10min; at += 10s) {
          ASSERT_EQ(desiredAt(outcome, at), right)
              << users << " users, target " << target << ", at " << at.count() / 1'000'000'000;
        }
      }
    }
  }
}

TEST(AutoscalerSimulation, DoesNotFlapOnAConstantPoissonLoad) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Scenario scenario = scenarioOf(generate(
        {.high = 20, .length = 1h, .service = {.mean = 2s, .exponential = true}, .seed = seed}));
    EXPECT_EQ(reversals(runWith("penstock", scenario).desired), 0u) << "seed " << seed;
  }
}

// Of three requests at a time, chance makes six often, and with no delay at all the fleet follows.
// It does so less than half as often as KPA, and never with the delay that is the default.
TEST(AutoscalerSimulation, DoesNotFlapOnASmallPoissonLoadWithADelay) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Scenario scenario = scenarioOf(generate(
        {.high = 3, .length = 2h, .service = {.mean = 2s, .exponential = true}, .seed = seed}));
    const std::uint64_t of_kpa = reversals(runWith("kpa", scenario).desired);
    EXPECT_LT(reversals(runWith("penstock", scenario).desired), of_kpa / 2) << "seed " << seed;
    scenario.settings.autoscaling.scale_down_delay = 900s;
    EXPECT_EQ(reversals(runWith("penstock", scenario).desired), 0u) << "seed " << seed;
  }
}

// A scenario in which everything is random.
Scenario randomScenario(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto upTo = [&](std::uint64_t n) { return random() % (n + 1); };
  SyntheticLoad load{
      .shape = static_cast<Shape>(upTo(4)),
      .low = static_cast<double>(upTo(10)),
      .high = static_cast<double>(upTo(60)),
      .period = std::chrono::seconds(10 + upTo(600)),
      .length = std::chrono::seconds(600 + upTo(3'000)),
      .service = {.mean = std::chrono::milliseconds(50 + upTo(8'000)), .exponential = upTo(1) == 1},
      .closed_loop = upTo(1) == 1,
      .seed = seed};
  Scenario scenario = scenarioOf(generate(load));
  scenario.settings.concurrency_target = static_cast<std::uint32_t>(1 + upTo(9));
  auto& limits = scenario.settings.autoscaling;
  limits.min_replicas = static_cast<std::uint32_t>(upTo(3));
  limits.max_replicas = static_cast<std::uint32_t>(limits.min_replicas + 1 + upTo(40));
  limits.window = std::chrono::seconds(10 + upTo(110));
  limits.scale_down_delay = std::chrono::seconds(upTo(1) * upTo(300));
  limits.target_utilization = static_cast<std::uint32_t>(20 + upTo(80));
  limits.max_scale_down_rate = static_cast<std::uint32_t>(1 + upTo(49));
  scenario.start_up.shortest = std::chrono::milliseconds(upTo(20'000));
  scenario.start_up.longest = scenario.start_up.shortest + std::chrono::seconds(upTo(30));
  scenario.initial_replicas = limits.min_replicas;
  scenario.seed = seed;
  return scenario;
}

TEST(AutoscalerSimulation, KeepsItsPromisesUnderAnyLoad) {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    const Scenario scenario = randomScenario(seed);
    for (const char* policy : {"penstock", "kpa", "baseten", "oracle"}) {
      SCOPED_TRACE(::testing::Message() << policy << ", seed " << seed);
      const Outcome outcome = runWith(policy, scenario);
      const auto& limits = scenario.settings.autoscaling;
      for (const Step& step : outcome.desired) {
        ASSERT_GE(step.value, limits.min_replicas);
        ASSERT_LE(step.value, limits.max_replicas);
      }
      ASSERT_LE(outcome.most_on_one_replica, scenario.settings.concurrency_target);
      ASSERT_EQ(outcome.waits_seconds.size(), outcome.arrived) << "a request was lost";
      ASSERT_EQ(outcome.idle_while_waiting_seconds, 0);
    }
  }
}

}  // namespace
}  // namespace penstock::simulator
