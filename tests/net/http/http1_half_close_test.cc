// An HTTP/1 client that ends its direction, or goes: who is answered, and how a departure shows.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/http/http1_server_fixture.h"

namespace penstock::http {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kLastHi =
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";

class Http1HalfClose : public ServerConnectionTest {
 protected:
  // The request, and then the end of the client's direction.
  std::string askAndEnd(std::string_view bytes) {
    exchange(bytes);
    peer_->shutdownWriting();
    settle();
    return peer_->take();
  }
};

TEST_F(Http1HalfClose, AClientIsAskedWhetherItIsStillThereAndGetsItsAnswer) {
  EXPECT_EQ(askAndEnd(kGet), "");
  advance(500ms);
  EXPECT_EQ(peer_->take(), kContinue);
  advance(30s);
  EXPECT_FALSE(last().end.has_value());
  EXPECT_EQ(peer_->take(), "") << "once is enough";
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), kLastHi);
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1HalfClose, AnAnswerThatComesSoonStandsAlone) {
  askAndEnd(kGet);
  advance(400ms);
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), kLastHi);
}

TEST_F(Http1HalfClose, AClientOfHttp10IsNotAsked) {
  EXPECT_EQ(askAndEnd("GET / HTTP/1.0\r\n\r\n"), "");
  advance(30s);
  EXPECT_EQ(peer_->take(), "");
  last().answer(200, "hi");
  settle();
  EXPECT_THAT(peer_->take(), HasSubstr("\r\n\r\nhi"));
  EXPECT_EQ(last().end, StreamEnd::kComplete);
}

TEST_F(Http1HalfClose, ABodyMayComeBeforeIt) {
  askAndEnd("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(last().body, "abc");
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), kLastHi);
}

TEST_F(Http1HalfClose, WhatWasPipelinedIsAnsweredToo) {
  exchange(std::string(kGet) + std::string(kGet) + "GET /unfinished HT");
  peer_->shutdownWriting();
  settle();
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(requests_.size(), i + 1);
    last().answer(200, "hi");
    settle();
    EXPECT_EQ(request(i).end, StreamEnd::kComplete);
  }
  EXPECT_THAT(peer_->take(), HasSubstr("hiHTTP/1.1 200 OK"));
  EXPECT_EQ(requests_.size(), 2U);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1HalfClose, ARequestThatWillNotBecomeWholeIsGivenUp) {
  exchange(std::string(kGet) + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
  peer_->shutdownWriting();
  settle();
  last().answer(200, "hi");
  settle();
  ASSERT_EQ(requests_.size(), 2U);
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1HalfClose, AClientThatGoesIsNoticedSoon) {
  exchange(kGet);
  EXPECT_EQ(server_->activeStreams(), 1U);
  peer_->close();
  settle();
  advance(500ms);
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1HalfClose, AClientThatGoesLaterIsNoticedAtTheNextLook) {
  askAndEnd(kGet);
  advance(20s);
  peer_->close();
  EXPECT_FALSE(last().end.has_value());
  advance(1s);
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1HalfClose, ADepartureItIsWhereTheLimitsSaySo) {
  limits_.half_close = HalfClose::kDeparture;
  EXPECT_EQ(askAndEnd(kGet), "");
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1HalfClose, AWrittenResponseIsFinishedInAnyCase) {
  for (const HalfClose meaning : {HalfClose::kAnswer, HalfClose::kDeparture}) {
    limits_.half_close = meaning;
    start();
    exchange(kGet);
    peer_->stopReading();
    last().answer(200, std::string(4U << 20, 'x'));
    settle();
    EXPECT_FALSE(last().end.has_value());
    peer_->shutdownWriting();
    settle();
    peer_->startReading();
    settle();
    EXPECT_EQ(last().end, StreamEnd::kComplete);
    EXPECT_GT(peer_->take().size(), 4U << 20);
  }
}

}  // namespace
}  // namespace penstock::http
