#include "simulator/figures.h"

#include <gtest/gtest.h>

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

TEST(Figures, TakeQuantilesOfAllWaits) {
  Outcome outcome;
  for (int i = 100; i >= 1; --i) {
    outcome.waits_seconds.push_back(static_cast<float>(i));
  }
  const Figures figures = figuresOf(outcome, 100s);
  EXPECT_EQ(figures.wait_p50, 50);
  EXPECT_EQ(figures.wait_p95, 95);
  EXPECT_EQ(figures.wait_p99, 99);
  EXPECT_EQ(figures.wait_max, 100);
}

TEST(Figures, AreZeroWithoutRequests) {
  Outcome outcome;
  EXPECT_EQ(figuresOf(outcome, 100s).wait_max, 0);
}

TEST(Figures, GiveTimesAsSharesOfTheLoadsLength) {
  Outcome outcome;
  outcome.somebody_waited_seconds = 25;
  outcome.idle_while_waiting_seconds = 5;
  const Figures figures = figuresOf(outcome, 100s);
  EXPECT_DOUBLE_EQ(figures.somebody_waits_share, 0.25);
  EXPECT_DOUBLE_EQ(figures.idle_while_waiting_share, 0.05);
}

TEST(Reversals, CountATurnByTwiceWithinTenMinutes) {
  EXPECT_EQ(reversals({{0s, 2}, {60s, 4}, {120s, 2}}), 1u);
  EXPECT_EQ(reversals({{0s, 4}, {60s, 2}, {120s, 4}, {180s, 2}}), 2u);
}

TEST(Reversals, DoNotCountSlowOnes) {
  EXPECT_EQ(reversals({{0s, 2}, {60s, 4}, {20min, 2}, {40min, 4}}), 0u);
}

TEST(Reversals, DoNotCountSmallOnes) {
  EXPECT_EQ(reversals({{0s, 10}, {10s, 15}, {20s, 10}, {30s, 16}, {40s, 9}}), 0u);
}

TEST(Reversals, DoNotCountAWayUpInSteps) {
  EXPECT_EQ(reversals({{0s, 1}, {10s, 2}, {20s, 4}, {30s, 3}, {40s, 8}, {50s, 16}}), 0u);
}

TEST(Reversals, TakeZeroForAHalf) {
  EXPECT_EQ(reversals({{0s, 0}, {60s, 1}, {120s, 0}}), 1u);
  EXPECT_EQ(reversals({}), 0u);
}

}  // namespace
}  // namespace penstock::simulator
