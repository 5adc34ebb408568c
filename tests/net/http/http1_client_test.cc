// An HTTP/1 connection to a replica: what is sent, how the answer is read, and when the connection
// may be used again.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/http/client_connection.h"
#include "net/listener.h"
#include "tests/net/http/http1_client_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Http1Client = Http1ClientTest;

constexpr std::string_view kHi = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

TEST_F(Http1Client, AsksAndKeepsTheConnection) {
  HeardResponse& first = ask(kHi);
  EXPECT_TRUE(ready_);
  EXPECT_EQ(peer_->take(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  EXPECT_EQ(first.head->status, 200);
  EXPECT_EQ(first.body, "hi");
  EXPECT_EQ(first.end, StreamEnd::kComplete);
  EXPECT_EQ(capacity_, 1);
  EXPECT_EQ(ask(kHi).end, StreamEnd::kComplete);
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http1Client, NamesThePeerWhereTheRequestNamesNoHost) {
  RequestHead head = get();
  head.authority.clear();
  ask(kHi, head);
  EXPECT_EQ(peer_->take(), "GET / HTTP/1.1\r\nhost: 127.0.0.1:81\r\n\r\n");
}

TEST_F(Http1Client, HasOneStreamAtATime) {
  HeardResponse& response = open();
  EXPECT_FALSE(client_->canOpen());
  EXPECT_EQ(client_->activeStreams(), 1U);
  EXPECT_FALSE(response.stream->started());
}

TEST_F(Http1Client, SendsABodyOfUnknownLengthInChunks) {
  HeardResponse& response = open();
  response.stream->sendHead(get("/", "POST"), false);
  response.send("abc", false);
  settle();
  EXPECT_TRUE(response.stream->started());
  EXPECT_EQ(peer_->take(),
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
  response.send("", true);
  settle();
  EXPECT_EQ(peer_->take(), "0\r\n\r\n");
  peer_->send(kHi);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http1Client, KnowsThatALargeBodyReachedThePeer) {
  HeardResponse& response = open();
  RequestHead head = get("/", "POST");
  head.content_length = 200'000;
  response.stream->sendHead(head, false);
  response.send(std::string(200'000, 'x'), true);
  EXPECT_FALSE(response.stream->started());
  settle();
  EXPECT_TRUE(response.stream->started());
  peer_->send(kHi);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kComplete);
}

TEST_F(Http1Client, ReadsChunksTrailersAndInformationalResponses) {
  HeardResponse& response =
      ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n");
  EXPECT_EQ(response.informational, std::vector<int>{103});
  EXPECT_EQ(response.body, "abc");
  EXPECT_EQ(response.trailers.get("x"), "y");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http1Client, BearsOnlySoManyInformationalResponses) {
  limits_.max_informational = 2;
  const std::string hint = "HTTP/1.1 103 x\r\n\r\n";
  EXPECT_EQ(ask(hint + hint + std::string(kHi)).end, StreamEnd::kComplete);
  EXPECT_EQ(ask(hint + hint + hint + std::string(kHi)).end, StreamEnd::kProtocolError);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, TakesAnUnwantedUpgradeForAnError) {
  EXPECT_EQ(ask("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n").end, StreamEnd::kProtocolError);
}

TEST_F(Http1Client, ReadsUntilCloseAndKnowsItFromACutOffBody) {
  HeardResponse& response = ask("HTTP/1.1 200 OK\r\n\r\nsome");
  EXPECT_EQ(draining_, 1);
  EXPECT_FALSE(response.end.has_value());
  peer_->close();
  settle();
  EXPECT_EQ(response.body, "some");
  EXPECT_TRUE(response.ended);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_EQ(closed_, net::CloseReason::kPeerClosed);
}

TEST_F(Http1Client, TakesAnEndInMidResponseForALostConnection) {
  for (const std::string_view part :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"}) {
    auto [peer, near] = PlainPeer::make();
    peer_.emplace(std::move(peer));
    fd_ = std::move(near);
    HeardResponse& response = ask(part);
    peer_->close();
    settle();
    EXPECT_FALSE(response.ended) << part;
    EXPECT_EQ(response.end, StreamEnd::kConnectionLost) << part;
  }
}

TEST_F(Http1Client, TakesAnEndBeforeTheResponseForALostConnection) {
  HeardResponse& response = ask("HTTP/1.1 200");
  peer_->close();
  settle();
  EXPECT_EQ(response.end, StreamEnd::kConnectionLost);
  EXPECT_EQ(closed_, net::CloseReason::kPeerClosed);
}

TEST_F(Http1Client, ConnectionThatEndsBeforeAByteWasWrittenRefusedTheRequest) {
  HeardResponse& response = open();
  settle();
  peer_->close();
  settle();
  EXPECT_EQ(response.end, StreamEnd::kRefused);
}

TEST_F(Http1Client, ConnectionThatEndsInTheTurnOfTheRequestRefusedIt) {
  ask(kHi);
  HeardResponse& response = open();
  peer_->close();
  // The loop reads before it writes.
  response.stream->sendHead(get(), true);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kRefused);
}

TEST_F(Http1Client, LargeRequestIsStartedOnceAnyOfItIsWritten) {
  HeardResponse& response = open();
  peer_->stopReading();
  response.stream->sendHead(get("/", "POST"), false);
  response.send(std::string(4U << 20, 'x'), true);
  EXPECT_FALSE(response.stream->started());
  settle();
  EXPECT_TRUE(response.stream->started());
}

TEST_F(Http1Client, SeesTheEndOfFileBeforeItUsesTheConnectionAgain) {
  ask(kHi);
  clock_.advance(milliseconds(1));
  net::runTurn(loop_);
  EXPECT_TRUE(client_->canOpen());
  peer_->close();
  EXPECT_FALSE(client_->canOpen()) << "before the loop has told of it";
  settle();
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, BytesOnAnIdleConnectionCloseIt) {
  ask(kHi);
  clock_.advance(milliseconds(1));
  net::runTurn(loop_);
  peer_->send("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_FALSE(client_->canOpen());
  settle();
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, BytesBehindAResponseCloseTheConnection) {
  HeardResponse& response = ask(std::string(kHi) + "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_EQ(response.body, "hi");
  EXPECT_EQ(capacity_, 0);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, AnAnswerBeforeTheRequestWasAskedIsNone) {
  HeardResponse& response = open();
  peer_->send(kHi);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kRefused);
  EXPECT_FALSE(response.head.has_value());
}

TEST_F(Http1Client, ClosesWhenTheResponseSaysSo) {
  HeardResponse& response =
      ask("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_EQ(draining_, 1);
  EXPECT_EQ(capacity_, 0);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, AnAnswerBeforeTheRequestsEndEndsBoth) {
  HeardResponse& response = open();
  response.stream->sendHead(get("/", "POST"), false);
  response.send("abc", false);
  settle();
  peer_->send("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n");
  settle();
  EXPECT_EQ(response.head->status, 413);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_TRUE(closed_.has_value()) << "the rest of the request was not sent";
}

TEST_F(Http1Client, ExpectsNoBodyInTheAnswerToHead) {
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", get("/", "HEAD")).end,
            StreamEnd::kComplete);
  EXPECT_EQ(ask("HTTP/1.1 204 x\r\n\r\n").end, StreamEnd::kComplete);
  EXPECT_EQ(ask("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n").end, StreamEnd::kComplete);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http1Client, RefusesAmbiguousAndOversizedAnswers) {
  for (const std::string& answer :
       {std::string("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\nContent-Length: 2\n\n"), std::string("SSH-2.0-x\r\n"),
        "HTTP/1.1 200 OK\r\nx: " + std::string(70000, 'v') + "\r\n\r\n"}) {
    auto [peer, near] = PlainPeer::make();
    peer_.emplace(std::move(peer));
    fd_ = std::move(near);
    EXPECT_EQ(ask(answer).end, StreamEnd::kProtocolError) << answer.substr(0, 40);
    EXPECT_TRUE(closed_.has_value());
    closed_.reset();
  }
}

TEST_F(Http1Client, PausesReadingWhileABodyIsNotConsumed) {
  limits_.stream_window = 100000;
  HeardResponse& response = open();
  response.consumes = false;
  response.stream->sendHead(get(), true);
  settle();
  peer_->send("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + std::string(4000000, 'x'));
  settle();
  EXPECT_GT(response.body.size(), 100000U);
  EXPECT_LE(response.body.size(), 100000U + 65536U);
  response.consumes = true;
  response.stream->consume(response.body.size());
  settle();
  EXPECT_EQ(response.body.size(), 4000000U);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http1Client, TellsWhenMoreMayBeSent) {
  HeardResponse& response = open();
  peer_->stopReading();
  response.stream->sendHead(get("/", "POST"), false);
  response.send(std::string(4U << 20, 'x'), false);
  settle();
  EXPECT_EQ(response.send_ready, 0);
  EXPECT_GT(response.stream->unsentBytes(), 256U * 1024);
  peer_->startReading();
  settle();
  EXPECT_EQ(response.send_ready, 1);
}

TEST_F(Http1Client, ResetClosesTheConnection) {
  HeardResponse& response = open();
  response.stream->sendHead(get(), true);
  settle();
  response.stream->reset(ResetReason::kCancel);
  EXPECT_FALSE(closed_.has_value()) << "not inside the handler's own call";
  settle();
  EXPECT_FALSE(response.end.has_value());
  EXPECT_TRUE(closed_.has_value());
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Client, ResetBeforeTheRequestKeepsTheConnection) {
  HeardResponse& response = open();
  response.stream->reset(ResetReason::kCancel);
  settle();
  EXPECT_EQ(capacity_, 1);
  EXPECT_EQ(ask(kHi).end, StreamEnd::kComplete);
}

TEST_F(Http1Client, MayBeResetFromInsideItsHandler) {
  HeardResponse& response = open();
  response.resets = true;
  response.stream->sendHead(get(), true);
  settle();
  peer_->send(kHi);
  settle();
  EXPECT_EQ(response.body, "");
  EXPECT_FALSE(response.end.has_value());
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, BodyShorterThanDeclaredEndsTheStream) {
  HeardResponse& response = open();
  RequestHead head = get("/", "POST");
  head.content_length = 5;
  response.stream->sendHead(head, false);
  response.send("abc", true);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kLocal);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, ClosesItselfWhenIdleForTooLong) {
  limits_.idle_timeout = seconds(4);
  ask(kHi);
  clock_.advance(milliseconds(3999));
  settle();
  EXPECT_FALSE(closed_.has_value());
  HeardResponse& response = open();
  clock_.advance(seconds(100));
  settle();
  EXPECT_FALSE(closed_.has_value()) << "a request is no idleness";
  response.stream->sendHead(get(), true);
  settle();
  peer_->send(kHi);
  settle();
  clock_.advance(seconds(4));
  settle();
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1Client, CloseEndsTheStreamAndTellsNobodyElse) {
  HeardResponse& response = open();
  client_->close();
  EXPECT_EQ(response.end, StreamEnd::kLocal);
  settle();
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http1Client, TellsOfAConnectFailure) {
  // A port that was just free.
  net::Address address = net::Address::loopback(0);
  {
    auto socket = net::listenOn(address, false);
    ASSERT_TRUE(socket.has_value());
    address = net::boundAddress(socket->get());
  }
  client_ =
      ClientConnection::make(loop_,
                             net::Connection::connect(loop_, address, nullptr,
                                                      Deadline::after(loop_.now(), seconds(5)), {}),
                             UpstreamProtocol::kHttp1, limits_, *this);
  EXPECT_FALSE(client_->canOpen());
  net::runUntil(loop_, [this] { return closed_.has_value(); });
  EXPECT_EQ(closed_, net::CloseReason::kConnectFailed);
  EXPECT_FALSE(ready_);
}

}  // namespace
}  // namespace penstock::http
