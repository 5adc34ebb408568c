#include "base/check.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(Check, LetsATrueConditionPass) {
  PENSTOCK_CHECK(1 + 1 == 2, "arithmetic holds");
}

TEST(CheckDeathTest, NamesThePromiseAndThePlace) {
  EXPECT_DEATH(PENSTOCK_CHECK(false, "a slot is returned once"),
               "check_test.cc:[0-9]+: broken promise: a slot is returned once");
}

}  // namespace
}  // namespace penstock
