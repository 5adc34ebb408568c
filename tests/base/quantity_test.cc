#include "base/quantity.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

TEST(Quantity, ReadsWholeDecimalNumbers) {
  EXPECT_EQ(parseInteger("0"), 0);
  EXPECT_EQ(parseInteger("-7"), -7);
  EXPECT_EQ(parseInteger("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parseUnsigned("18446744073709551615"), UINT64_MAX);
}

TEST(Quantity, RefusesWhatOthersReadDifferently) {
  for (const char* text : {"", "-", "010", "00", "-01", "+1", "1_000", "0x10", "1.0", "1e3", " 1",
                           "1 ", "9223372036854775808", "ten"}) {
    EXPECT_EQ(parseInteger(text), std::nullopt) << text;
  }
  EXPECT_EQ(parseUnsigned("-1"), std::nullopt);
  EXPECT_EQ(parseUnsigned("18446744073709551616"), std::nullopt);
}

TEST(Quantity, ReadsDurations) {
  EXPECT_EQ(parseDuration("5ns"), 5ns);
  EXPECT_EQ(parseDuration("5us"), 5us);
  EXPECT_EQ(parseDuration("500ms"), 500ms);
  EXPECT_EQ(parseDuration("30s"), 30s);
  EXPECT_EQ(parseDuration("5m"), 5min);
  EXPECT_EQ(parseDuration("1h"), 1h);
  EXPECT_EQ(parseDuration("0s"), 0s);
}

TEST(Quantity, RefusesDurationsWithoutOrWithAnotherUnit) {
  for (const char* text :
       {"", "30", "s", "30 s", "30sec", "30S", "1.5s", "-1s", "010s", "1s500ms", "3000000h"}) {
    EXPECT_EQ(parseDuration(text), std::nullopt) << text;
  }
}

TEST(Quantity, ReadsSizes) {
  EXPECT_EQ(parseByteSize("0B"), 0_B);
  EXPECT_EQ(parseByteSize("1B"), 1_B);
  EXPECT_EQ(parseByteSize("64KiB"), 64_KiB);
  EXPECT_EQ(parseByteSize("256MiB"), 256_MiB);
  EXPECT_EQ(parseByteSize("2GiB"), 2048_MiB);
}

TEST(Quantity, RefusesSizesWithoutOrWithAnotherUnit) {
  for (const char* text :
       {"", "64", "64KB", "64kib", "64K", "1.5MiB", "-1B", "18446744073709551615KiB"}) {
    EXPECT_EQ(parseByteSize(text), std::nullopt) << text;
  }
}

TEST(Quantity, PrintsTheLargestUnitThatFits) {
  EXPECT_EQ(toString(Duration(0s)), "0s");
  EXPECT_EQ(toString(Duration(1500ms)), "1500ms");
  EXPECT_EQ(toString(Duration(90s)), "90s");
  EXPECT_EQ(toString(Duration(120s)), "2m");
  EXPECT_EQ(toString(0_B), "0B");
  EXPECT_EQ(toString(1000_B), "1000B");
  EXPECT_EQ(toString(1_MiB), "1MiB");
  EXPECT_EQ(toString(1025_KiB), "1025KiB");
}

}  // namespace
}  // namespace penstock
