#include "proxy/scaling/scaling_policy.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/proxy/scaling/scripted_load.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

// A policy, its load, and a fleet that does at once what the policy says.
class ScalingPolicyTest : public ::testing::Test {
 protected:
  ScalingPolicyTest() {
    settings_.autoscaling = {.min_replicas = 0,
                             .max_replicas = 100,
                             .window = 60s,
                             .scale_down_delay = 0s,
                             .target_utilization = 70,
                             .max_scale_down_rate = 50};
  }
  ScalingDecision decide() {
    const ScalingDecision decision = policy_.decide(load_.sample(), settings_, fleet_);
    fleet_ = {.ready = decision.replicas};
    return decision;
  }
  ScalingDecision passDeciding(Duration time) {
    ScalingDecision decision;
    for (Duration passed = 0s; passed < time; passed += 1s) {
      load_.pass(1s);
      decision = decide();
    }
    return decision;
  }
  // A fleet that has been that size for two windows under the load that is set.
  void settle(std::uint32_t replicas) {
    settings_.autoscaling.min_replicas = replicas;
    settings_.autoscaling.max_replicas = replicas;
    passDeciding(2 * settings_.autoscaling.window);
    settings_.autoscaling.min_replicas = 0;
    settings_.autoscaling.max_replicas = 100;
  }

  ScriptedLoad load_;
  ScalingSettings settings_;
  Fleet fleet_;
  ScalingPolicy policy_;
};

TEST_F(ScalingPolicyTest, StaysAtZeroWithoutDemand) {
  EXPECT_EQ(passDeciding(100s).replicas, 0u);
}

TEST_F(ScalingPolicyTest, WakesFromZeroInTheSameMomentThatSomebodyWaits) {
  passDeciding(100s);
  load_.arrive(1);
  load_.set(0, 1);
  const ScalingDecision decision = decide();
  EXPECT_EQ(decision.replicas, 1u);
  EXPECT_EQ(toString(decision.reason), "from_zero");
}

TEST_F(ScalingPolicyTest, WakesForAllWhoWaitAtZero) {
  passDeciding(100s);
  settings_.concurrency_target = 4;
  load_.arrive(10);
  load_.set(0, 10);
  EXPECT_EQ(decide().replicas, 3u);
}

TEST_F(ScalingPolicyTest, FollowsALastingLoadByItsMeanOverTheWindow) {
  settings_.concurrency_target = 10;
  load_.set(25);
  settle(3);
  EXPECT_EQ(decide().replicas, 4u);
  EXPECT_EQ(toString(decide().reason), "demand");
}

TEST_F(ScalingPolicyTest, FollowsABurstLongBeforeTheMeanOfTheWindowDoes) {
  settle(1);
  load_.arrive(10);
  load_.set(1, 9);
  const ScalingDecision decision = passDeciding(1s);
  EXPECT_GE(decision.replicas, 10u);
  EXPECT_LT(decision.desired.lasting, 2u);
  EXPECT_EQ(toString(decision.reason), "burst");
}

TEST_F(ScalingPolicyTest, TakesNothingAwayUntilAWindowAfterTheBurst) {
  settle(1);
  load_.arrive(20);
  load_.set(1, 19);
  const std::uint32_t peak = passDeciding(6s).replicas;
  load_.set(0);
  // The burst was noticed in the first of the 6 s.
  for (int second = 6; second < 59; ++second) {
    ASSERT_EQ(passDeciding(1s).replicas, peak) << second << " s after the burst";
  }
  EXPECT_LT(passDeciding(12s).replicas, peak);
}

TEST_F(ScalingPolicyTest, LeavesABurstByTheRateAndDoesNotCollapse) {
  settle(2);
  load_.arrive(40);
  load_.set(2, 38);
  const std::uint32_t peak = passDeciding(6s).replicas;
  load_.set(0);
  std::uint32_t before = peak;
  for (int second = 0; second < 200; ++second) {
    const std::uint32_t now = passDeciding(1s).replicas;
    ASSERT_GE(now, before / 2) << second;
    before = now;
  }
  EXPECT_LT(before, peak);
}

TEST_F(ScalingPolicyTest, ScalesDownOnlyAfterTheDelay) {
  settings_.autoscaling.scale_down_delay = 300s;
  load_.set(4);
  settle(6);
  passDeciding(300s);
  load_.set(1);
  EXPECT_EQ(passDeciding(299s).replicas, 6u);
  EXPECT_EQ(toString(decide().reason), "scale_down_delay");
  EXPECT_LT(passDeciding(60s).replicas, 6u);
}

TEST_F(ScalingPolicyTest, ADipShorterThanTheDelayChangesNothing) {
  settings_.autoscaling.scale_down_delay = 300s;
  load_.set(4);
  settle(6);
  for (int i = 0; i < 5; ++i) {
    load_.set(0);
    ASSERT_EQ(passDeciding(200s).replicas, 6u);
    load_.set(4);
    ASSERT_EQ(passDeciding(100s).replicas, 6u);
  }
}

TEST_F(ScalingPolicyTest, GivesUpAtMostTheRatePerDelay) {
  settings_.autoscaling.scale_down_delay = 100s;
  settle(10);
  EXPECT_EQ(passDeciding(1s).replicas, 5u);
  EXPECT_EQ(passDeciding(99s).replicas, 5u);
  EXPECT_EQ(passDeciding(3s).replicas, 3u);
  EXPECT_EQ(passDeciding(101s).replicas, 2u);
  EXPECT_EQ(passDeciding(101s).replicas, 1u);
  EXPECT_EQ(passDeciding(101s).replicas, 0u);
}

TEST_F(ScalingPolicyTest, GivesUpOneAtLeast) {
  settings_.autoscaling.scale_down_delay = 100s;
  settings_.autoscaling.max_scale_down_rate = 1;
  settle(3);
  EXPECT_EQ(passDeciding(1s).replicas, 2u);
  EXPECT_EQ(passDeciding(101s).replicas, 1u);
  EXPECT_EQ(passDeciding(101s).replicas, 0u);
}

TEST_F(ScalingPolicyTest, GoesToZeroOnlyAfterAWindowWithoutAnyDemand) {
  load_.set(0);
  settle(1);
  load_.serve(1, 1ms);
  EXPECT_EQ(passDeciding(59s).replicas, 1u);
  EXPECT_EQ(passDeciding(2s).replicas, 0u);
}

TEST_F(ScalingPolicyTest, TakesNothingAwayWhileSomebodyWaits) {
  // Behind a start of five minutes: nothing has come for a window, and everybody is still here.
  fleet_ = {.ready = 0, .starting = 20};
  load_.arrive(20);
  load_.set(0, 20);
  for (int second = 0; second < 300; ++second) {
    load_.pass(1s);
    const ScalingDecision decision = policy_.decide(load_.sample(), settings_, fleet_);
    ASSERT_GE(decision.replicas, 20u) << second;
    fleet_.starting = decision.replicas;
  }
}

TEST_F(ScalingPolicyTest, ObeysALowerMaximumAtOnce) {
  load_.set(7);
  settle(10);
  settings_.autoscaling.max_replicas = 2;
  const ScalingDecision decision = decide();
  EXPECT_EQ(decision.replicas, 2u);
  EXPECT_EQ(toString(decision.reason), "max_replicas");
}

TEST_F(ScalingPolicyTest, ObeysAHigherMinimumAtOnce) {
  settle(1);
  settings_.autoscaling.min_replicas = 8;
  const ScalingDecision decision = decide();
  EXPECT_EQ(decision.replicas, 8u);
  EXPECT_EQ(toString(decision.reason), "min_replicas");
}

TEST_F(ScalingPolicyTest, NamesEveryReason) {
  for (const auto& [reason, name] :
       {std::pair{ScalingReason::kDemand, "demand"}, std::pair{ScalingReason::kBurst, "burst"},
        std::pair{ScalingReason::kAfterBurst, "after_burst"},
        std::pair{ScalingReason::kScaleDownDelay, "scale_down_delay"},
        std::pair{ScalingReason::kScaleDownRate, "scale_down_rate"},
        std::pair{ScalingReason::kWaiting, "waiting"},
        std::pair{ScalingReason::kMinReplicas, "min_replicas"},
        std::pair{ScalingReason::kMaxReplicas, "max_replicas"}}) {
    EXPECT_EQ(toString(reason), name);
  }
}

}  // namespace
}  // namespace penstock::proxy
