#include "base/deadline.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kNow{1000s};

TEST(Deadline, PassesWhenItsTimeHasCome) {
  const Deadline deadline = Deadline::after(kNow, 5s);
  EXPECT_FALSE(deadline.passed(kNow + 5s - 1ns));
  EXPECT_TRUE(deadline.passed(kNow + 5s));
  EXPECT_EQ(deadline.remaining(kNow + 2s), 3s);
  EXPECT_EQ(deadline.remaining(kNow + 9s), 0s);
}

TEST(Deadline, NeverDoesNotPass) {
  EXPECT_FALSE(Deadline::never().passed(kNow));
  EXPECT_EQ(Deadline::never().remaining(kNow), Duration::max());
}

TEST(Deadline, ATimeoutTooLongToRepresentIsNever) {
  EXPECT_TRUE(Deadline::after(kNow, Duration::max()).isNever());
}

TEST(Deadline, TheEarlierOneIsLess) {
  EXPECT_LT(Deadline::after(kNow, 1s), Deadline::after(kNow, 2s));
  EXPECT_LT(Deadline::after(kNow, 2s), Deadline::never());
}

}  // namespace
}  // namespace penstock
