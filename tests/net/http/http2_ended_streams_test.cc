#include "net/http/http2_ended_streams.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

TEST(Http2EndedStreams, HasThoseThatEndedInAnyOrder) {
  Http2EndedStreams ended;
  EXPECT_FALSE(ended.has(1));
  ended.add(9);
  ended.add(3);
  for (const std::int32_t id : {1, 5, 7, 11}) {
    EXPECT_FALSE(ended.has(id)) << id;
  }
  EXPECT_TRUE(ended.has(3));
  EXPECT_TRUE(ended.has(9));
}

TEST(Http2EndedStreams, ForgetsOldOnesAndTakesNoneForAnother) {
  Http2EndedStreams ended;
  std::int32_t newest = 1;
  ended.add(1);
  for (const std::int32_t step : {2, 40, 510, 512, 514, 6000, 2}) {
    newest += step;
    EXPECT_FALSE(ended.has(newest));
    ended.add(newest);
    EXPECT_TRUE(ended.has(newest));
    EXPECT_EQ(ended.has(newest - step), step < 512) << step;
    for (std::int32_t between = 2; between < std::min(step, 600); between += 2) {
      EXPECT_FALSE(ended.has(newest - between)) << step;
    }
    if (newest <= 512) {
      continue;
    }
    // Too long ago to be told apart.
    ended.add(newest - 512);
    EXPECT_FALSE(ended.has(newest - 512));
    EXPECT_TRUE(ended.has(newest));
  }
}

}  // namespace
}  // namespace penstock::http
