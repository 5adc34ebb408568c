// Failures that users of other autoscalers reported. Each is played back: the rule that failed
// fails here too, and Penstock's does not.

#include <gtest/gtest.h>

#include "tests/simulation/autoscaler_fixture.h"

namespace penstock::simulator {
namespace {

// knative #6743: with target 1 one busy pod at a mean of 0.71 "panics", because ceil(0.71 ÷ 0.7) is
// twice one, and there are two pods for a minute for every few seconds of work.
TEST(AutoscalerKnownFailures, OneReplicaDoesNotPanicAtTarget1Knative6743) {
  Load load{.length = 1h};
  for (Duration at = 60s; at < 1h; at += 60s) {
    load.arrivals.push_back({.at = at, .service = 7s});
  }
  const Scenario scenario = scenarioOf(std::move(load));
  EXPECT_EQ(mostDesired(runWith("kpa", scenario)), 2u);
  const Outcome ours = runWith("penstock", scenario);
  EXPECT_EQ(mostDesired(ours), 1u);
  EXPECT_EQ(waitedLongerThan(ours, 0), 0u);
}

// knative #4344, #13284: pods that start are not counted, the line grows meanwhile, and the
// autoscaler asks for the line. Ten a second of half a second: five slots, eight replicas. Penstock
// asks for those who are here when it notices the burst, and then for nothing on account of the
// line.
TEST(AutoscalerKnownFailures, ASlowStartDoesNotOverProvisionKnative4344And13284) {
  Scenario scenario = scenarioOf(generate({.shape = Shape::kStep,
                                           .low = 0.1,
                                           .high = 5,
                                           .period = 5min,
                                           .length = 30min,
                                           .service = {.mean = 500ms}}));
  scenario.start_up = {.shortest = 60s, .longest = 60s};
  EXPECT_GE(mostDesired(runWith("kpa", scenario)), 300u);
  EXPECT_LE(mostDesired(runWith("penstock", scenario)), 32u);
}

// knative #9121, #15121, #10275: when the panic is over, the fleet goes to what the mean says, in a
// few seconds, and the next burst finds nothing.
TEST(AutoscalerKnownFailures, LeavingABurstDoesNotCollapseTheFleetKnative9121And15121And10275) {
  const Scenario scenario =
      scenarioOf(usersOf({{.from = 60s, .count = 100}, {.from = 180s, .count = 2}}, 600s));
  // The most that is lost within 30 s, as a share.
  const auto steepest = [](const Outcome& outcome) {
    double share = 0;
    for (const Step& step : outcome.desired) {
      for (Duration later = 0s; later <= 30s; later += 1s) {
        const double left = desiredAt(outcome, step.from + later);
        share = std::max(share, 1 - left / step.value);
      }
    }
    return share;
  };
  EXPECT_GT(steepest(runWith("kpa", scenario)), 0.9);
  EXPECT_LE(steepest(runWith("penstock", scenario)), 0.5);
}

// Baseten's gauge is read once a second, and a request that comes and goes between two readings was
// never there: a replica that is busy nine tenths of the time is taken away.
TEST(AutoscalerKnownFailures, RequestsBetweenTwoReadingsOfAGaugeCountBaseten) {
  Load load{.length = 10min};
  for (Duration second = 0s; second < 10min; second += 1s) {
    for (int i = 0; i < 9; ++i) {
      load.arrivals.push_back({.at = second + 50ms + i * 100ms, .service = 100ms});
    }
  }
  Scenario scenario = scenarioOf(std::move(load));
  scenario.settings.autoscaling.min_replicas = 0;
  const Outcome baseten = runWith("baseten", scenario);
  EXPECT_EQ(desiredAt(baseten, 0s), 0u);
  EXPECT_GT(waitedLongerThan(baseten, 0), 100u);
  const Outcome ours = runWith("penstock", scenario);
  EXPECT_EQ(desiredAt(ours, 5min), 2u);
  // It begins at zero, for it has seen no load yet; once the start is made up for, nobody waits.
  EXPECT_LT(waitedLongerThan(ours, 0), 40u);
}

// A mean over a minute dilutes a step: ten users wait for one replica until it has caught up.
TEST(AutoscalerKnownFailures, AStepIsNotDilutedByTheWindowBaseten) {
  const Scenario scenario =
      scenarioOf(usersOf({{.from = 0s, .count = 1}, {.from = 300s, .count = 10}}, 600s));
  EXPECT_GE(untilDesired(runWith("baseten", scenario), 10, 300s), 30s);
  EXPECT_LE(untilDesired(runWith("penstock", scenario), 10, 300s), 3s);
}

}  // namespace
}  // namespace penstock::simulator
