#include "net/http/http2_flood_guard.h"

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Flood = ServerConnection::Flood;

const TimePoint kStart = TimePoint{} + seconds(100);

TEST(TokenBucket, GivesItsBurstAndThenItsRate) {
  TokenBucket bucket({.burst = 3, .per_second = 2}, kStart);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(bucket.take(kStart));
  }
  EXPECT_TRUE(bucket.take(kStart + milliseconds(500)));
  EXPECT_FALSE(bucket.take(kStart + milliseconds(900)));
}

TEST(TokenBucket, NeverHoldsMoreThanItsBurst) {
  TokenBucket bucket({.burst = 2, .per_second = 100}, kStart);
  bucket.giveBack(50);
  const TimePoint later = kStart + seconds(3600);
  EXPECT_TRUE(bucket.take(later));
  EXPECT_TRUE(bucket.take(later));
  EXPECT_FALSE(bucket.take(later));
}

TEST(TokenBucket, OfNoBurstBoundsNothing) {
  TokenBucket bucket({.burst = 0, .per_second = 0}, kStart);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(bucket.take(kStart));
  }
}

TEST(Http2FloodGuard, TellsWhatCameTooOften) {
  Http2FloodGuard resets(Limits{}, kStart);
  for (int i = 0; i < 200; ++i) {
    resets.onClientReset(kStart);
  }
  EXPECT_FALSE(resets.flood());
  resets.onClientReset(kStart);
  EXPECT_EQ(resets.flood(), Flood::kClientResets);

  Http2FloodGuard forced(Limits{}, kStart);
  for (int i = 0; i < 101; ++i) {
    forced.onForcedReset(kStart);
  }
  EXPECT_EQ(forced.flood(), Flood::kForcedResets);

  Http2FloodGuard frames(Limits{}, kStart);
  frames.onFrames(2000, kStart);
  EXPECT_FALSE(frames.flood());
  frames.onFrames(1, kStart);
  EXPECT_EQ(frames.flood(), Flood::kFrames);
}

TEST(Http2FloodGuard, LetsHonestClientsDoAsMuchAsTheyLike) {
  Http2FloodGuard guard(Limits{}, kStart);
  // A load generator, 20 frames for each request.
  for (int i = 0; i < 10'000; ++i) {
    guard.onFrames(20, kStart);
    guard.onRequest();
  }
  // A download, both windows opened for each 4 KiB.
  for (int i = 0; i < 10'000; ++i) {
    guard.onDataSent(4096, false);
    guard.onFrames(2, kStart);
  }
  // A stream of small pieces, each answered with PING and both windows.
  for (int i = 0; i < 10'000; ++i) {
    guard.onDataSent(30, true);
    guard.onFrames(3, kStart);
  }
  EXPECT_FALSE(guard.flood());
}

TEST(Http2FloodGuard, ChargesForWhatHeadersBecomeByDecoding) {
  Http2FloodGuard guard(Limits{}, kStart);
  for (int i = 0; i < 128; ++i) {
    guard.onHeader(4096);
    guard.chargeHeaders(kStart);
  }
  EXPECT_FALSE(guard.flood());
  guard.onHeader(1);
  guard.chargeHeaders(kStart);
  EXPECT_EQ(guard.flood(), Flood::kHeaderBytes);
}

TEST(Http2FloodGuard, ChargesNobodyForHeadersThatWereAsLongOnTheWire) {
  Http2FloodGuard guard(Limits{}, kStart);
  for (int i = 0; i < 10'000; ++i) {
    guard.onBytesRead(5000);
    guard.onHeader(8000);
    guard.chargeHeaders(kStart);
  }
  // All of HPACK's table in each request.
  for (int i = 0; i < 10'000; ++i) {
    guard.onBytesRead(20);
    guard.onHeader(4096);
    guard.chargeHeaders(kStart);
    guard.onRequest();
  }
  EXPECT_FALSE(guard.flood());
}

TEST(Http2FloodGuard, AWindowOpenedByBytesPaysForNothing) {
  Http2FloodGuard guard(Limits{}, kStart);
  for (int i = 0; i < 2003; ++i) {
    guard.onFrames(1, kStart);
    guard.onDataSent(1, false);
  }
  EXPECT_EQ(guard.flood(), Flood::kFrames);
}

}  // namespace
}  // namespace penstock::http
