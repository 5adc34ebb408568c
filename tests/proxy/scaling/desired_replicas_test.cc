#include "proxy/scaling/desired_replicas.h"

#include <gtest/gtest.h>

#include "tests/proxy/scaling/scripted_load.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

ScalingSettings settingsFor(std::uint32_t target, std::uint32_t utilization = 70) {
  return {.concurrency_target = target,
          .autoscaling = {.window = 60s, .target_utilization = utilization}};
}

TEST(ReplicasFor, RoundsUp) {
  EXPECT_EQ(replicasFor(25, settingsFor(10)), 4u);
  EXPECT_EQ(replicasFor(0, settingsFor(10)), 0u);
  EXPECT_EQ(replicasFor(0.001, settingsFor(10)), 1u);
  EXPECT_EQ(replicasFor(28.1, settingsFor(10)), 5u);
}

TEST(ReplicasFor, IsNotTakenInByTheLastBitOfASum) {
  EXPECT_EQ(replicasFor(7, settingsFor(1)), 10u);
  EXPECT_EQ(replicasFor(28, settingsFor(10)), 4u);
  EXPECT_EQ(replicasFor(3 * 0.1, settingsFor(1, 10)), 3u);
}

TEST(ReplicasFor, UsesAllOfAReplicaAtFullUtilization) {
  EXPECT_EQ(replicasFor(10, settingsFor(1, 100)), 10u);
}

TEST(ReplicasFor, StaysInRangeForAbsurdDemand) {
  EXPECT_EQ(replicasFor(1e300, settingsFor(1)), std::numeric_limits<std::uint32_t>::max());
}

TEST(ShortWindow, IsATenthAndAtLeastASecond) {
  EXPECT_EQ(shortWindow(60s), 6s);
  EXPECT_EQ(shortWindow(10s), 1s);
  EXPECT_EQ(shortWindow(5s), 1s);
}

class DesiredReplicasTest : public ::testing::Test {
 protected:
  DesiredReplicasTest() { window_.add(load_.sample(), 60s); }
  void pass(Duration time) {
    load_.pass(time);
    window_.add(load_.sample(), 60s);
  }

  ScriptedLoad load_;
  LoadWindow window_;
};

TEST_F(DesiredReplicasTest, AreWhatTheMeanAsksFor) {
  load_.set(20, 5);
  pass(60s);
  const DesiredReplicas desired = desiredReplicas(window_, settingsFor(10), {.ready = 3});
  EXPECT_EQ(desired.lasting, 4u);
  EXPECT_FALSE(desired.bursting);
  EXPECT_DOUBLE_EQ(desired.demand, 25);
}

// knative #6743: ceil(0.71 ÷ 0.7) is 2, twice what there is, and one busy replica panics.
TEST_F(DesiredReplicasTest, OneBusyReplicaIsNoBurst) {
  load_.set(1);
  pass(60s);
  const DesiredReplicas desired = desiredReplicas(window_, settingsFor(1), {.ready = 1});
  EXPECT_EQ(desired.burst, 2u);
  EXPECT_FALSE(desired.bursting);
}

// 13.9 ÷ 0.7 is 19.9, and its ceiling twice ten.
TEST_F(DesiredReplicasTest, AlmostTwiceTheFleetIsNoBurst) {
  load_.set(139);
  pass(600ms);
  load_.set(0);
  pass(5400ms);
  const DesiredReplicas desired = desiredReplicas(window_, settingsFor(1), {.ready = 10});
  EXPECT_EQ(desired.burst, 20u);
  EXPECT_FALSE(desired.bursting);
}

TEST_F(DesiredReplicasTest, TwiceWhatTheFleetIsMadeForIsABurst) {
  load_.set(14);
  pass(6s);
  EXPECT_TRUE(desiredReplicas(window_, settingsFor(10), {.ready = 1}).bursting);
  EXPECT_FALSE(desiredReplicas(window_, settingsFor(10), {.ready = 2}).bursting);
}

TEST_F(DesiredReplicasTest, WhatChanceMakesOfTheMeanIsNoBurst) {
  load_.set(3);
  pass(60s);
  load_.set(9);
  pass(6s);
  // 9 are 3 × 3; of a mean of 3.6, chance makes up to 9.3.
  EXPECT_FALSE(desiredReplicas(window_, settingsFor(1), {.ready = 5}).bursting);
  load_.set(11);
  pass(6s);
  EXPECT_TRUE(desiredReplicas(window_, settingsFor(1), {.ready = 5}).bursting);
}

TEST_F(DesiredReplicasTest, ReplicasThatStartCountAsCapacity) {
  load_.set(14);
  pass(6s);
  EXPECT_FALSE(desiredReplicas(window_, settingsFor(10), {.ready = 1, .starting = 1}).bursting);
}

TEST_F(DesiredReplicasTest, SomebodyWhoWaitsForNoFleetIsABurst) {
  load_.set(0, 1);
  load_.arrive(1);
  window_.add(load_.sample(), 60s);
  const DesiredReplicas desired = desiredReplicas(window_, settingsFor(1), {});
  EXPECT_TRUE(desired.bursting);
  EXPECT_EQ(desired.burst, 1u);
}

// knative #4344, #13284.
TEST_F(DesiredReplicasTest, ALineThatGrowsForWantOfStartingReplicasIsNoReasonForMore) {
  load_.serve(20, 500ms);
  window_.add(load_.sample(), 60s);
  // Ten a second of half a second each: five slots. They wait for 60 s, and 600 are in line.
  for (int second = 0; second < 60; ++second) {
    load_.arrive(10);
    load_.set(0, load_.sample().waiting + 10);
    pass(1s);
  }
  const DesiredReplicas desired =
      desiredReplicas(window_, settingsFor(1), {.ready = 0, .starting = 8});
  EXPECT_EQ(desired.burst, 8u);
  EXPECT_EQ(desired.lasting, 8u);
  EXPECT_FALSE(desired.bursting);
}

TEST_F(DesiredReplicasTest, BeforeAnyRequestHasEndedEachIsTakenToLastAShortWindow) {
  for (int second = 0; second < 60; ++second) {
    load_.arrive(10);
    load_.set(0, load_.sample().waiting + 10);
    pass(1s);
  }
  // 600 wait; 60 came in the last 6 s.
  EXPECT_EQ(desiredReplicas(window_, settingsFor(1), {.ready = 0, .starting = 1}).burst,
            replicasFor(60, settingsFor(1)));
}

// Ten a second of half a second each: five slots. Eight are ready, and a line is left from before.
TEST_F(DesiredReplicasTest, ALineThatGetsShorterCountsAsWhatServesItWithinAStartUp) {
  load_.serve(20, 500ms);
  window_.add(load_.sample(), 60s);
  load_.set(8, 600);
  for (int second = 0; second < 60; ++second) {
    load_.arrive(10);
    pass(1s);
  }
  const DesiredReplicas desired =
      desiredReplicas(window_, settingsFor(1, 100), {.ready = 8, .start_up = 60s});
  // 600 of half a second within 60 s are 5 slots more than the 8 that are busy.
  EXPECT_EQ(desired.burst, 13u);
  EXPECT_FALSE(desired.bursting);
}

TEST_F(DesiredReplicasTest, ALineThatDoesNotGetShorterCountsInFull) {
  load_.serve(20, 500ms);
  window_.add(load_.sample(), 60s);
  // Ten users: whoever is served comes again at once.
  load_.set(1, 9);
  for (int second = 0; second < 6; ++second) {
    load_.arrive(2);
    pass(1s);
  }
  const DesiredReplicas desired = desiredReplicas(window_, settingsFor(1), {.ready = 1});
  EXPECT_EQ(desired.burst, 15u);
  EXPECT_TRUE(desired.bursting);
}

}  // namespace
}  // namespace penstock::proxy
