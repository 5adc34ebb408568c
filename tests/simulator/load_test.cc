#include "simulator/load.h"

#include <gtest/gtest.h>

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

std::vector<std::pair<Duration, std::uint32_t>> pairsOf(const std::vector<Step>& steps) {
  std::vector<std::pair<Duration, std::uint32_t>> pairs;
  for (const Step& step : steps) {
    pairs.emplace_back(step.from, step.value);
  }
  return pairs;
}

TEST(UnlimitedInFlight, CountsWhoIsThereAtATime) {
  const Load load{.arrivals = {{1s, 3s}, {2s, 1s}, {10s, 1s}}, .length = 11s};
  EXPECT_EQ(pairsOf(unlimitedInFlight(load)),
            (std::vector<std::pair<Duration, std::uint32_t>>{
                {0s, 0}, {1s, 1}, {2s, 2}, {3s, 1}, {4s, 0}, {10s, 1}, {11s, 0}}));
}

TEST(UnlimitedInFlight, LetsSomebodyGoBeforeTheNextComes) {
  const Load load{.arrivals = {{0s, 1s}, {1s, 1s}}, .length = 2s};
  for (const Step& step : unlimitedInFlight(load)) {
    EXPECT_LE(step.value, 1u);
  }
}

TEST(UnlimitedInFlight, IsTheUsersInAClosedLoop) {
  const Load load{.users = {{5s, 3}, {9s, 1}}, .length = 11s};
  EXPECT_EQ(pairsOf(unlimitedInFlight(load)),
            (std::vector<std::pair<Duration, std::uint32_t>>{{0s, 0}, {5s, 3}, {9s, 1}}));
}

TEST(ServiceTime, IsTheMeanUnlessExponential) {
  std::mt19937_64 random(1);
  EXPECT_EQ((ServiceTime{.mean = 2s}).draw(random), 2s);
  const ServiceTime exponential{.mean = 2s, .exponential = true};
  Duration sum{};
  for (int i = 0; i < 10'000; ++i) {
    sum += exponential.draw(random);
  }
  EXPECT_NEAR(std::chrono::duration<double>(sum).count() / 10'000, 2, 0.1);
}

}  // namespace
}  // namespace penstock::simulator
