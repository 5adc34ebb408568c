#include "proxy/cluster/drain_rate.h"

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

// Slots that come free one after another while somebody waits.
void drain(DrainRate& rate, int slots, Duration each) {
  for (int i = 0; i < slots; ++i) {
    rate.waited(each);
    rate.freed();
  }
}

TEST(DrainRate, EstimatesASecondAtLeastAndAnHourAtMost) {
  DrainRate rate;
  EXPECT_EQ(rate.estimatedWait(0, 0s), 1s);
  drain(rate, 10, 10ms);
  EXPECT_EQ(rate.estimatedWait(5, 0s), 1s);
  EXPECT_EQ(rate.estimatedWait(1'000'000, 0s), 1h);
}

TEST(DrainRate, IsTimeWaitedPerSlotFreed) {
  DrainRate rate;
  drain(rate, 10, 2s);
  EXPECT_EQ(rate.estimatedWait(7, 0s), 14s);
  EXPECT_EQ(rate.estimatedWait(7, 20s), 28s) << "what is not accounted yet counts";
}

TEST(DrainRate, IsAtLeastAsLongAgainWhileNothingComesFree) {
  DrainRate rate;
  rate.waited(30s);
  EXPECT_EQ(rate.estimatedWait(3, 10s), 40s);
  EXPECT_EQ(rate.estimatedWait(0, 10s), 1s);
}

TEST(DrainRate, RemembersTheWindowBeforeAndNoOlderOne) {
  DrainRate rate;
  drain(rate, 16, 10s);
  drain(rate, 15, 1s);
  EXPECT_EQ(rate.estimatedWait(31, 0s), 175s) << "both windows";
  drain(rate, 1, 1s);
  EXPECT_EQ(rate.estimatedWait(31, 0s), 31s) << "the one just ended";
}

TEST(DrainRate, AWindowIsLongAndFull) {
  DrainRate fast;
  drain(fast, 900, 10ms);  // nine seconds
  drain(fast, 100, 100ms);
  // Ended as soon as ten seconds were full, and with far more slots than needed.
  EXPECT_EQ(fast.estimatedWait(1000, 0s), Duration(19s));
  DrainRate slow;
  drain(slow, 15, 60s);  // fifteen minutes, too few slots
  drain(slow, 16, 1s);
  EXPECT_GT(slow.estimatedWait(31, 0s), 31s);
}

}  // namespace
}  // namespace penstock::proxy
