// The clocks of an HTTP/1 server connection: slow heads, slow bodies and idle connections.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http/body_pace.h"
#include "tests/net/http/http1_server_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::StartsWith;

constexpr std::string_view kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

class Http1Timeout : public ServerConnectionTest {};

TEST_F(Http1Timeout, HeadMustBeCompleteInTimeHoweverSteadilyItComes) {
  exchange("GET / HTTP/1.1\r\n");
  for (int i = 0; i < 9; ++i) {
    advance(seconds(1));
    EXPECT_EQ(exchange("x: y\r\n"), "");
  }
  advance(milliseconds(999));
  EXPECT_EQ(peer_->take(), "");
  advance(milliseconds(1));
  EXPECT_THAT(peer_->take(), StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Timeout, HeadsTimeBeginsAnewWithEachRequest) {
  on_head_ = [](HeardRequest& heard) { heard.answer(200, ""); };
  exchange("GET / HTTP/1.1\r\n");
  advance(seconds(6));
  exchange("Host: a\r\n\r\nGET / HTTP/1.1\r\n");
  advance(seconds(6));
  EXPECT_FALSE(peer_->closed());
  advance(seconds(4));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Timeout, BodyThatKeepsComingMayTakeLong) {
  exchange(kPost);
  for (int i = 0; i < 20; ++i) {
    advance(seconds(5));
    exchange(std::string(20000, 'x'));
    EXPECT_FALSE(last().end.has_value()) << i;
  }
}

TEST_F(Http1Timeout, StoppedBodyIsAnswered408) {
  limits_.min_body_rate = 0;
  exchange(kPost);
  advance(milliseconds(29999));
  EXPECT_FALSE(last().end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(last().end, StreamEnd::kTimeout);
  EXPECT_THAT(peer_->take(), StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Timeout, TricklingBodyIsAnswered408) {
  exchange(kPost);
  for (int i = 0; i < 9; ++i) {
    advance(seconds(1));
    exchange(std::string(1000, 'x'));
    ASSERT_FALSE(last().end.has_value()) << i;
  }
  advance(seconds(1));
  EXPECT_EQ(last().end, StreamEnd::kTimeout);
  EXPECT_THAT(peer_->take(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(Http1Timeout, BodyIsNotTimedWhileThisSideDoesNotReadIt) {
  limits_.stream_window = 1000;
  consumes_ = false;
  exchange(std::string(kPost) + std::string(5000, 'x'));
  advance(seconds(100));
  EXPECT_FALSE(last().end.has_value());
  last().stream->consume(5000);
  advance(seconds(9));
  EXPECT_FALSE(last().end.has_value()) << "the time begins anew";
  advance(seconds(1));
  EXPECT_EQ(last().end, StreamEnd::kTimeout);
}

TEST_F(Http1Timeout, BodyIsNotTimedWhileTheClientWaitsForContinue) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  advance(seconds(100));
  EXPECT_FALSE(last().end.has_value());
  last().stream->sendContinue();
  settle();
  advance(seconds(10));
  EXPECT_EQ(last().end, StreamEnd::kTimeout);
}

TEST_F(Http1Timeout, SlowBodyEndsABegunResponse) {
  exchange(kPost);
  last().sendHead(200, false);
  settle();
  peer_->take();
  advance(seconds(30));
  EXPECT_EQ(last().end, StreamEnd::kTimeout);
  EXPECT_EQ(peer_->take(), "") << "a second head would be read as part of the body";
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Timeout, RequestThatIsCompleteWaitsAsLongAsItTakes) {
  exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  advance(std::chrono::hours(10));
  EXPECT_FALSE(last().end.has_value());
}

TEST_F(Http1Timeout, IdleConnectionIsClosedWithoutAWord) {
  on_head_ = [](HeardRequest& heard) { heard.answer(200, ""); };
  exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  advance(seconds(59));
  exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  advance(milliseconds(59999));
  EXPECT_FALSE(peer_->closed());
  advance(milliseconds(1));
  EXPECT_TRUE(peer_->closed());
  EXPECT_EQ(peer_->take(), "");
}

TEST_F(Http1Timeout, UnwantedBodyIsNotWaitedForForever) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  last().answer(404, "no");
  advance(seconds(9));
  EXPECT_FALSE(peer_->closed());
  advance(seconds(1));
  EXPECT_TRUE(peer_->closed());
}

TEST(BodyPace, AsksForTheRateInEachWindow) {
  Limits limits;
  limits.min_body_rate = 10;
  BodyPace pace(limits);
  TimePoint now{};
  EXPECT_EQ(pace.due(), TimePoint::max());
  pace.start(now);
  EXPECT_EQ(pace.due(), now + seconds(10));
  pace.onBytes(now + seconds(9), 100);
  EXPECT_FALSE(pace.tooSlow(now + seconds(10))) << "just enough";
  pace.onBytes(now + seconds(19), 99);
  EXPECT_TRUE(pace.tooSlow(now + seconds(20))) << "what came before does not count";
}

}  // namespace
}  // namespace penstock::http
