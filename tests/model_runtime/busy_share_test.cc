#include <gtest/gtest.h>

#include "model_runtime/runtime_metrics.h"

namespace penstock::runtime {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(BusyShare, IsTheShareOfAllLanesSinceTheStartAtFirst) {
  BusyShare share(2, kStart);
  EXPECT_EQ(share.read(kStart, Duration::zero()), 0);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(500), milliseconds(250)), 0.25);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(800), milliseconds(1600)), 1);
}

TEST(BusyShare, IsThatOfTheLastWindowAfterwards) {
  BusyShare share(1, kStart);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(2000), milliseconds(1000)), 0.5);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(2999), milliseconds(1999)), 0.5);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(4000), milliseconds(2000)), 0.5);
  EXPECT_DOUBLE_EQ(share.read(kStart + milliseconds(6000), milliseconds(4000)), 1);
}

}  // namespace
}  // namespace penstock::runtime
