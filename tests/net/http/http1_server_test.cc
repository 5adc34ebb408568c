// An HTTP/1 server connection: what is answered, in what order, and when the connection is kept.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/http/http1_server_fixture.h"

namespace penstock::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Http1Server : public ServerConnectionTest {
 protected:
  void answerAtOnce(std::string_view body = "hi") {
    on_head_ = [this, body](HeardRequest& heard) {
      if (heard.ended) {
        heard.answer(200, body);
      }
    };
    on_data_ = [body](HeardRequest& heard) {
      if (heard.ended) {
        heard.answer(200, body);
      }
    };
  }
  static std::string get(std::string_view path, std::string_view fields = "") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
  }
};

constexpr std::string_view kHi = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

TEST_F(Http1Server, AnswersAndKeepsTheConnection) {
  answerAtOnce();
  EXPECT_EQ(exchange(get("/1")), kHi);
  EXPECT_EQ(request(0).end, StreamEnd::kComplete);
  EXPECT_EQ(server_->activeStreams(), 0U);
  EXPECT_EQ(exchange("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), kHi);
  EXPECT_EQ(request(1).body, "abc");
  EXPECT_FALSE(closed_);
  EXPECT_EQ(server_->protocol(), Protocol::kHttp11);
}

TEST_F(Http1Server, AnswersARequestThatComesByteByByte) {
  answerAtOnce();
  start();
  for (const char c : get("/slow")) {
    peer_->send({&c, 1});
    settle();
  }
  EXPECT_EQ(peer_->take(), kHi);
}

TEST_F(Http1Server, WritesASmallResponseAtOnce) {
  start();
  peer_->send(get("/"));
  settle();
  last().answer(200, "hi");
  EXPECT_EQ(last().stream->unsentBytes(), kHi.size()) << "head and body wait for one write";
  settle();
  EXPECT_EQ(peer_->take(), kHi);
}

TEST_F(Http1Server, StreamsWithoutALengthInChunks) {
  EXPECT_EQ(exchange(get("/")), "");
  last().sendHead(200, false);
  last().send("data: 1\n\n", false);
  settle();
  EXPECT_EQ(peer_->take(),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
      << "what is sent is not held back";
  Headers trailers;
  trailers.add("x", "y");
  last().stream->sendTrailers(trailers);
  settle();
  EXPECT_EQ(peer_->take(), "0\r\nx: y\r\n\r\n");
  EXPECT_EQ(last().end, StreamEnd::kComplete);
}

TEST_F(Http1Server, ClosesTheConnectionWhenTheClientAsksForIt) {
  answerAtOnce();
  EXPECT_THAT(exchange(get("/", "Connection: close\r\n")),
              HasSubstr("\r\nconnection: close\r\n\r\nhi"));
  EXPECT_TRUE(peer_->closed());
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  peer_->close();
  settle();
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Server, SpeaksHttp10) {
  answerAtOnce();
  EXPECT_THAT(exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
              HasSubstr("\r\nconnection: keep-alive\r\n"));
  EXPECT_EQ(server_->protocol(), Protocol::kHttp10);
  EXPECT_FALSE(peer_->closed());
  EXPECT_THAT(exchange("GET / HTTP/1.0\r\n\r\n"), HasSubstr("\r\nconnection: close\r\n"));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, DelimitsAnUnknownLengthForHttp10ByClosing) {
  exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  Headers hints;
  last().stream->sendInformational(103, hints);
  last().sendHead(200, false);
  last().send("some", false);
  last().send(" text", true);
  settle();
  EXPECT_EQ(peer_->take(), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nsome text");
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, SendsNoBodyToHead) {
  answerAtOnce();
  EXPECT_EQ(exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
  EXPECT_EQ(exchange(get("/")), kHi);
}

TEST_F(Http1Server, SendsInformationalResponsesFirst) {
  exchange(get("/"));
  Headers headers;
  headers.add("link", "</x>");
  last().stream->sendInformational(100, {});
  last().stream->sendInformational(101, {});
  last().stream->sendInformational(103, headers);
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + std::string(kHi));
}

TEST_F(Http1Server, AnswersPipelinedRequestsOneAfterTheOther) {
  EXPECT_EQ(exchange(get("/1") + get("/2") + get("/3")), "");
  ASSERT_EQ(requests_.size(), 1U) << "the next one is not looked at yet";
  last().answer(200, "1");
  settle();
  ASSERT_EQ(requests_.size(), 2U);
  EXPECT_EQ(request(1).head.path, "/2");
  last().answer(200, "2");
  settle();
  last().answer(200, "3");
  settle();
  EXPECT_THAT(peer_->take(), EndsWith("\r\n\r\n3"));
  EXPECT_EQ(requests_.size(), 3U);
}

TEST_F(Http1Server, ReadsOnlyALittleOfWhatIsPipelined) {
  start();
  // More than the sockets hold, so that it can be seen who reads it.
  std::string many;
  while (many.size() < 4U << 20) {
    many += get("/x", "X-Filler: " + std::string(1000, 'f') + "\r\n");
  }
  peer_->send(many);
  settle();
  EXPECT_GT(peer_->unsent(), 2U << 20);
  EXPECT_EQ(requests_.size(), 1U);
  answerAtOnce();
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->unsent(), 0U);
  EXPECT_EQ(requests_.size(),
            many.size() / get("/x", "X-Filler: " + std::string(1000, 'f') + "\r\n").size());
}

TEST_F(Http1Server, TellsAHandlerThatItsClientLeftInMidBody) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
  peer_->close();
  settle();
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
  EXPECT_FALSE(last().ended);
}

TEST_F(Http1Server, RefusesWithTheOwnersReplyAndCloses) {
  EXPECT_EQ(exchange("GET / HTTP/1.1\r\n\r\n" + get("/next")),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
  EXPECT_TRUE(peer_->closed());
  EXPECT_TRUE(requests_.empty());
}

TEST_F(Http1Server, RefusesABadChunkAfterTheHandlerHasHeardOfTheRequest) {
  EXPECT_THAT(exchange("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
              StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(last().end, StreamEnd::kProtocolError);
}

TEST_F(Http1Server, ClosesOnABadChunkWhenTheResponseHasBegun) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  last().sendHead(200, false);
  settle();
  peer_->take();
  EXPECT_EQ(exchange("zz\r\n"), "");
  EXPECT_TRUE(peer_->closed());
  EXPECT_EQ(last().end, StreamEnd::kProtocolError);
}

TEST_F(Http1Server, SendsContinueWhenAskedTo) {
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(exchange(head), "");
  last().stream->sendContinue();
  last().stream->sendContinue();
  settle();
  EXPECT_EQ(peer_->take(), "HTTP/1.1 100 Continue\r\n\r\n") << "once";
  exchange("ab");
  EXPECT_TRUE(last().ended);
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), kHi);

  exchange(head + "ab");
  last().stream->sendContinue();
  last().answer(200, "hi");
  settle();
  EXPECT_EQ(peer_->take(), kHi) << "the body has come: nobody waits";
}

TEST_F(Http1Server, ClosesAfterAnAnswerInsteadOfContinue) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  last().answer(429, "no");
  settle();
  EXPECT_THAT(peer_->take(), HasSubstr("\r\nconnection: close\r\n"))
      << "the client may send the body or not";
  EXPECT_TRUE(peer_->closed());
  EXPECT_EQ(last().end, StreamEnd::kComplete);
}

TEST_F(Http1Server, ReadsALittleBodyThatNobodyWantsAndKeepsTheConnection) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab");
  last().answer(404, "no");
  settle();
  EXPECT_THAT(peer_->take(), Not(HasSubstr("connection")));
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  answerAtOnce();
  EXPECT_EQ(exchange("cdefghij" + get("/next")), kHi);
  EXPECT_EQ(last().head.path, "/next");
  EXPECT_EQ(request(0).body, "ab");
}

TEST_F(Http1Server, ClosesRatherThanReadALotThatNobodyWants) {
  exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nab");
  last().sendHead(413, true);
  settle();
  EXPECT_EQ(peer_->take(),
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  EXPECT_TRUE(peer_->closed());

  peer_.reset();
  exchange("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  last().answer(404, "no");
  exchange("10000\r\n" + std::string(65536, 'x') + "\r\n");
  EXPECT_FALSE(peer_->closed()) << "64 KiB are read";
  exchange("1\r\nx\r\n");
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, PausesReadingWhileABodyIsNotConsumed) {
  limits_.stream_window = 100000;
  consumes_ = false;
  start();
  peer_->send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
  peer_->send(std::string(4000000, 'x'));
  settle();
  const std::size_t first = last().body.size();
  EXPECT_GT(first, 100000U);
  EXPECT_LE(first, 100000U + 65536U) << "what one read may bring beyond the window";
  last().stream->consume(first - 60000);
  settle();
  EXPECT_EQ(last().body.size(), first) << "more than half of the window is not dealt with";
  last().stream->consume(20000);
  settle();
  EXPECT_GT(last().body.size(), first);
  last().consumes = true;
  last().stream->consume(last().body.size());
  settle();
  EXPECT_EQ(last().body.size(), 4000000U);
  EXPECT_TRUE(last().ended);
}

TEST_F(Http1Server, TellsWhenMoreMayBeSent) {
  exchange(get("/"));
  peer_->stopReading();
  last().sendHead(200, false);
  last().send(std::string(4U << 20, 'x'), false);
  settle();
  EXPECT_GT(last().stream->unsentBytes(), 256U * 1024);
  EXPECT_EQ(last().send_ready, 0);
  peer_->startReading();
  settle();
  EXPECT_EQ(last().send_ready, 1);
  EXPECT_EQ(last().stream->unsentBytes(), 0U);
}

TEST_F(Http1Server, NeverPromisesMoreThanIsSent) {
  exchange(get("/"));
  ResponseHead head;
  head.content_length = 5;
  last().stream->sendHead(head, false);
  last().send("abc", true);
  settle();
  EXPECT_THAT(peer_->take(), EndsWith("abc"));
  EXPECT_TRUE(peer_->closed()) << "the client sees that it is cut off";
  EXPECT_EQ(last().end, StreamEnd::kLocal);
}

TEST_F(Http1Server, ResetWritesWhatThereIsWithoutAnEndAndMakesNoFurtherCalls) {
  exchange(get("/"));
  ServerStream* const stream = last().stream;
  last().sendHead(200, false);
  last().send("half", false);
  stream->reset(ResetReason::kInternal);
  last().stream = nullptr;
  settle();
  EXPECT_THAT(peer_->take(), EndsWith("4\r\nhalf\r\n"));
  EXPECT_TRUE(peer_->closed());
  peer_->shutdownWriting();
  settle();
  EXPECT_TRUE(closed_);
  EXPECT_FALSE(last().end.has_value());
}

TEST_F(Http1Server, ResetTellsAnHttp10ClientNothing) {
  exchange("GET / HTTP/1.0\r\nhost: model\r\n\r\n");
  ServerStream* const stream = last().stream;
  last().sendHead(200, false);
  last().send("half", false);
  stream->reset(ResetReason::kInternal);
  last().stream = nullptr;
  settle();
  EXPECT_EQ(peer_->take(), "") << "it would take it for the whole";
  EXPECT_TRUE(closed_);
}

TEST_F(Http1Server, MayBeResetFromInsideItsHandler) {
  on_head_ = [](HeardRequest& heard) {
    std::exchange(heard.stream, nullptr)->reset(ResetReason::kCancel);
  };
  EXPECT_EQ(exchange(get("/1") + get("/2")), "");
  EXPECT_TRUE(closed_);
  EXPECT_EQ(requests_.size(), 1U);
}

TEST_F(Http1Server, DrainsByFinishingWhatRuns) {
  exchange(get("/"));
  server_->drain(ServerConnection::Idle::kClose);
  settle();
  EXPECT_FALSE(peer_->closed());
  last().answer(200, "hi");
  settle();
  EXPECT_THAT(peer_->take(), HasSubstr("\r\nconnection: close\r\n"));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, DrainsAnIdleConnectionAtOnce) {
  answerAtOnce();
  exchange(get("/"));
  server_->drain(ServerConnection::Idle::kClose);
  EXPECT_FALSE(closed_) << "not inside the owner's own call";
  settle();
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, AnswersWhatComesOnAnIdleConnectionAfterTheDrainHasBegun) {
  answerAtOnce();
  exchange(get("/"));
  server_->drain(ServerConnection::Idle::kAnswer);
  settle();
  EXPECT_FALSE(peer_->closed());
  EXPECT_THAT(exchange(get("/")), HasSubstr("\r\nconnection: close\r\n"));
  EXPECT_EQ(requests_.size(), 2U);
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, ClosesAnIdleConnectionSomeTimeAfterTheDrainHasBegun) {
  answerAtOnce();
  exchange(get("/"));
  server_->drain(ServerConnection::Idle::kAnswer);
  advance(ServerConnection::kDrainNotice - std::chrono::milliseconds(1));
  EXPECT_FALSE(peer_->closed());
  advance(std::chrono::milliseconds(1));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, AResponseThatSaidItsConnectionStaysIsNotFollowedByItsEnd) {
  exchange(get("/"));
  last().sendHead(200, false);
  server_->drain(ServerConnection::Idle::kAnswer);
  advance(std::chrono::seconds(5));
  last().send("hi", true);
  settle();
  EXPECT_THAT(peer_->take(), EndsWith("2\r\nhi\r\n0\r\n\r\n"));
  advance(ServerConnection::kDrainNotice - std::chrono::milliseconds(1));
  EXPECT_FALSE(peer_->closed());
  answerAtOnce();
  EXPECT_THAT(exchange(get("/")), HasSubstr("\r\nconnection: close\r\n"));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, DrainsAfterAResponseWhoseHeadIsSent) {
  exchange(get("/"));
  last().sendHead(200, false);
  server_->drain(ServerConnection::Idle::kClose);
  last().send("hi", true);
  settle();
  EXPECT_THAT(peer_->take(), EndsWith("2\r\nhi\r\n0\r\n\r\n"));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, CloseEndsTheStreamAndTellsNobodyElse) {
  exchange(get("/"));
  server_->close();
  EXPECT_EQ(last().end, StreamEnd::kLocal);
  settle();
  EXPECT_FALSE(closed_);
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, ServesOnlySoManyRequests) {
  limits_.max_requests_per_connection = 2;
  answerAtOnce();
  EXPECT_EQ(exchange(get("/")), kHi);
  EXPECT_THAT(exchange(get("/")), HasSubstr("connection: close"));
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Server, CountsWorkThatOutlivesItsStream) {
  exchange(get("/"));
  StreamReservation reserved = server_->reserveStream();
  EXPECT_EQ(server_->activeStreams(), 2U);
  reserved = {};
  EXPECT_EQ(server_->activeStreams(), 1U);
}

}  // namespace
}  // namespace penstock::http
