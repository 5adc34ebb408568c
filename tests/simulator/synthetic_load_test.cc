#include "simulator/synthetic_load.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

std::ptrdiff_t arrivalsBetween(const Load& load, Duration from, Duration to) {
  return std::ranges::count_if(load.arrivals,
                               [&](const Arrival& a) { return a.at >= from && a.at < to; });
}

std::uint32_t usersAt(const Load& load, Duration time) {
  std::uint32_t count = 0;
  for (const Users& users : load.users) {
    count = users.from <= time ? users.count : count;
  }
  return count;
}

TEST(SyntheticLoad, ComesAsOftenAsItsLevelNeeds) {
  // Ten at a time of half a second each: twenty a second.
  const Load load = generate({.high = 10, .length = 1000s, .service = {.mean = 500ms}});
  EXPECT_NEAR(static_cast<double>(load.arrivals.size()), 20'000, 600);
  EXPECT_TRUE(std::ranges::is_sorted(load.arrivals, {}, &Arrival::at));
  EXPECT_LT(load.arrivals.back().at, 1000s);
}

TEST(SyntheticLoad, IsTheSameForTheSameSeed) {
  const SyntheticLoad wanted{.length = 100s, .seed = 7};
  SyntheticLoad other = wanted;
  other.seed = 8;
  EXPECT_EQ(generate(wanted).arrivals.front().at, generate(wanted).arrivals.front().at);
  EXPECT_NE(generate(wanted).arrivals.front().at, generate(other).arrivals.front().at);
}

TEST(SyntheticLoad, IsOffAtTimes) {
  const Load load = generate({.shape = Shape::kOnOff, .period = 100s, .length = 200s});
  EXPECT_GT(arrivalsBetween(load, 0s, 50s), 300);
  EXPECT_EQ(arrivalsBetween(load, 50s, 100s), 0);
  EXPECT_GT(arrivalsBetween(load, 100s, 150s), 300);
}

TEST(SyntheticLoad, RampsFromLowToHigh) {
  const Load load =
      generate({.shape = Shape::kRamp, .low = 0, .high = 10, .length = 100s, .closed_loop = true});
  EXPECT_EQ(usersAt(load, 1s), 0u);
  EXPECT_EQ(usersAt(load, 50s), 5u);
  EXPECT_EQ(usersAt(load, 99s), 10u);
}

TEST(SyntheticLoad, StepsOnceAndSawsAgainAndAgain) {
  SyntheticLoad wanted{.shape = Shape::kStep,
                       .low = 2,
                       .high = 10,
                       .period = 50s,
                       .length = 200s,
                       .closed_loop = true};
  const Load step = generate(wanted);
  EXPECT_EQ(usersAt(step, 49s), 2u);
  EXPECT_EQ(usersAt(step, 50s), 10u);
  EXPECT_EQ(usersAt(step, 199s), 10u);
  wanted.shape = Shape::kSawtooth;
  const Load saw = generate(wanted);
  EXPECT_EQ(usersAt(saw, 49s), 10u);
  EXPECT_EQ(usersAt(saw, 50s), 2u);
  EXPECT_EQ(usersAt(saw, 75s), 6u);
  EXPECT_EQ(usersAt(saw, 100s), 2u);
}

TEST(SyntheticLoad, MayBeNothing) {
  EXPECT_TRUE(generate({.low = 0, .high = 0}).arrivals.empty());
}

}  // namespace
}  // namespace penstock::simulator
