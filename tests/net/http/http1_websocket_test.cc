// WebSockets over HTTP/1.1: what either side says to the other's handshake, and that the connection
// is then two streams of bytes.

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http/websocket.h"
#include "tests/net/http/http1_client_fixture.h"
#include "tests/net/http/http1_server_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::minutes;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kUpgrade =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

class Http1WebSocketServer : public ServerConnectionTest {
 protected:
  // Whether it is asked for as it should be; then accepts it and forgets what that sent.
  void accept() {
    ASSERT_EQ(exchange(kUpgrade), "");
    last().sendHead(200, false);
    settle();
    peer_->take();
  }
};

TEST_F(Http1WebSocketServer, AnswersTheHandshake) {
  EXPECT_EQ(exchange(kUpgrade), "");
  EXPECT_TRUE(last().head.isWebSocket());
  EXPECT_FALSE(last().ended);
  ResponseHead head;
  head.headers.add("sec-websocket-protocol", "chat");
  head.headers.add("sec-websocket-accept", "made up");
  head.headers.add("connection", "close");
  last().stream->sendHead(head, false);
  settle();
  EXPECT_EQ(peer_->take(),
            "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol: chat\r\n"
            "connection: upgrade\r\nupgrade: websocket\r\n"
            "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

TEST_F(Http1WebSocketServer, CarriesBytesBothWaysAsTheyAre) {
  accept();
  EXPECT_EQ(exchange("GET / HTTP/1.1\r\n\r\n"), "");
  EXPECT_EQ(last().body, "GET / HTTP/1.1\r\n\r\n");
  last().send("raw", false);
  settle();
  EXPECT_EQ(peer_->take(), "raw");
  EXPECT_EQ(server_->activeStreams(), 1U);
}

TEST_F(Http1WebSocketServer, KeepsWhatComesBeforeTheAnswer) {
  start();
  peer_->send(std::string(kUpgrade) + "first");
  settle();
  peer_->send("second");
  settle();
  EXPECT_EQ(last().body, "");
  last().sendHead(200, false);
  settle();
  EXPECT_EQ(last().body, "firstsecond");
}

TEST_F(Http1WebSocketServer, KeepsLittleOfIt) {
  start();
  peer_->send(kUpgrade);
  const std::string early(8 << 20, 'e');
  peer_->send(early);
  settle();
  EXPECT_GT(peer_->unsent(), 4U << 20);
  last().sendHead(200, false);
  settle();
  EXPECT_TRUE(last().body == early);
}

TEST_F(Http1WebSocketServer, AcceptsInTheVeryCallThatAsks) {
  on_head_ = [](HeardRequest& request) { request.sendHead(200, false); };
  EXPECT_THAT(exchange(std::string(kUpgrade) + "at once"), StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(last().body, "at once");
}

TEST_F(Http1WebSocketServer, LeavesItAloneForAsLongAsItIsSilent) {
  exchange(kUpgrade);
  advance(minutes(10));
  EXPECT_FALSE(last().end.has_value());
  last().sendHead(200, false);
  settle();
  advance(minutes(10));
  exchange("x");
  advance(minutes(10));
  EXPECT_FALSE(last().end.has_value());
  EXPECT_EQ(last().body, "x");
}

TEST_F(Http1WebSocketServer, HoldsTheClientBackWhileNothingIsConsumed) {
  consumes_ = false;
  accept();
  const std::string much(8 << 20, 'm');
  peer_->send(much);
  settle();
  EXPECT_GT(peer_->unsent(), 4U << 20);
  EXPECT_LT(last().body.size(), 2 * limits_.stream_window + (64U << 10));
  last().consumes = true;
  last().stream->consume(last().body.size());
  settle();
  EXPECT_TRUE(last().body == much);
  advance(minutes(10));
  EXPECT_FALSE(last().end.has_value()) << "no pace is asked of it";
}

TEST_F(Http1WebSocketServer, TellsWhenTheClientEndsItsDirectionAndGoesOnWriting) {
  accept();
  peer_->send("last");
  peer_->shutdownWriting();
  settle();
  EXPECT_EQ(last().body, "last");
  EXPECT_TRUE(last().ended);
  EXPECT_FALSE(last().end.has_value());
  last().send("good", false);
  settle();
  last().send("bye", true);
  settle();
  EXPECT_EQ(peer_->take(), "goodbye");
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  EXPECT_TRUE(closed_);
}

TEST_F(Http1WebSocketServer, EndsWithTheResponseAndIsNotUsedAgain) {
  accept();
  last().send("bye", true);
  settle();
  EXPECT_EQ(peer_->take(), "bye");
  EXPECT_TRUE(peer_->closed());
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  peer_->send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  settle();
  EXPECT_EQ(requests_.size(), 1U);
}

TEST_F(Http1WebSocketServer, AClientThatGoesBeforeTheAnswerHasGone) {
  exchange(kUpgrade);
  peer_->shutdownWriting();
  settle();
  EXPECT_EQ(last().end, StreamEnd::kPeerReset);
}

TEST_F(Http1WebSocketServer, ARefusalIsAnOrdinaryResponse) {
  exchange(kUpgrade);
  last().answer(403, "no");
  settle();
  EXPECT_EQ(peer_->take(), "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  EXPECT_EQ(last().end, StreamEnd::kComplete);
  exchange("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(last().head.path, "/next");
}

TEST_F(Http1WebSocketServer, SaysWhichVersionItTakes) {
  const std::string answer = exchange(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(answer, HasSubstr("sec-websocket-version: 13\r\n"));
  EXPECT_TRUE(requests_.empty());
}

TEST_F(Http1WebSocketServer, ADrainLetsItEndByItself) {
  accept();
  server_->drain(ServerConnection::Idle::kClose);
  exchange("still");
  EXPECT_EQ(last().body, "still");
  last().send("", true);
  settle();
  EXPECT_TRUE(peer_->closed());
}

class Http1WebSocketClient : public Http1ClientTest {
 protected:
  static RequestHead webSocket() {
    RequestHead head = get("/chat", "CONNECT");
    head.protocol = "websocket";
    return head;
  }
  // Asks, and keeps the key that it sent.
  HeardResponse& askForOne() {
    HeardResponse& response = open();
    response.stream->sendHead(webSocket(), false);
    settle();
    sent_ = peer_->take();
    const std::string name = "sec-websocket-key: ";
    const std::size_t at = sent_.find(name);
    EXPECT_NE(at, std::string::npos) << sent_;
    key_ = sent_.substr(at + name.size(), 24);
    return response;
  }
  std::string acceptance(std::string_view accept) const {
    return "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"
           "Sec-WebSocket-Accept: " +
           std::string(accept) + "\r\n\r\n";
  }
  void answer(std::string_view bytes) {
    peer_->send(bytes);
    settle();
  }
  std::string sent_;
  std::string key_;
};

TEST_F(Http1WebSocketClient, AsksWithAnUpgrade) {
  HeardResponse& response = open();
  EXPECT_TRUE(client_->takesWebSockets());
  RequestHead head = webSocket();
  head.headers.add("sec-websocket-protocol", "chat");
  head.headers.add("sec-websocket-key", "somebody else's");
  response.stream->sendHead(head, false);
  settle();
  EXPECT_THAT(peer_->take(),
              testing::MatchesRegex(
                  "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-protocol: chat\r\n"
                  "sec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                  "sec-websocket-key: [A-Za-z0-9+/]+==\r\n\r\n"));
}

TEST_F(Http1WebSocketClient, IsOpenOnceTheKeyIsAnsweredAndUsesTheConnectionUp) {
  HeardResponse& response = askForOne();
  answer(acceptance(webSocketAccept(key_)) + "early");
  EXPECT_EQ(response.head->status, 200);
  EXPECT_TRUE(response.head->headers.empty());
  EXPECT_EQ(response.body, "early");
  EXPECT_EQ(draining_, 1);
  response.send("raw", false);
  settle();
  EXPECT_EQ(peer_->take(), "raw");
  clock_.advance(minutes(10));
  settle();
  EXPECT_FALSE(response.end.has_value());
  answer("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(response.body, "earlyHTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(client_->activeStreams(), 1U);
}

TEST_F(Http1WebSocketClient, KeepsBackWhatIsSentBeforeTheAnswer) {
  HeardResponse& response = open();
  response.stream->setHighWatermark(4);
  response.stream->sendHead(webSocket(), false);
  response.send("hello", false);
  settle();
  const std::string asked = peer_->take();
  EXPECT_THAT(asked, testing::EndsWith("\r\n\r\n"));
  EXPECT_EQ(response.stream->unsentBytes(), 5U);
  EXPECT_EQ(response.send_ready, 0);
  const std::size_t at = asked.find("sec-websocket-key: ") + 19;
  answer(acceptance(webSocketAccept(asked.substr(at, 24))));
  EXPECT_EQ(peer_->take(), "hello");
  EXPECT_EQ(response.send_ready, 1);
}

TEST_F(Http1WebSocketClient, EndsItsOwnDirectionAndReadsOn) {
  HeardResponse& response = askForOne();
  answer(acceptance(webSocketAccept(key_)));
  response.send("bye", true);
  settle();
  EXPECT_EQ(peer_->take(), "bye");
  EXPECT_TRUE(peer_->closed());
  EXPECT_FALSE(response.end.has_value());
  answer("good");
  EXPECT_EQ(response.body, "good");
  peer_->close();
  settle();
  EXPECT_TRUE(response.ended);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http1WebSocketClient, TheReplicasEndIsTheEnd) {
  HeardResponse& response = askForOne();
  answer(acceptance(webSocketAccept(key_)));
  peer_->shutdownWriting();
  settle();
  EXPECT_TRUE(response.ended);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
}

TEST_F(Http1WebSocketClient, TakesAWrongAnswerToItsKeyForAnError) {
  HeardResponse& response = askForOne();
  answer(acceptance(webSocketAccept("AAAAAAAAAAAAAAAAAAAAAA==")));
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
}

TEST_F(Http1WebSocketClient, TakesAnotherUpgradeForAnError) {
  HeardResponse& response = askForOne();
  answer("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " +
         webSocketAccept(key_) + "\r\n\r\n");
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
}

TEST_F(Http1WebSocketClient, TakesAnUpgradeThatWasNotAskedForForAnError) {
  EXPECT_EQ(ask(acceptance(webSocketAccept(""))).end, StreamEnd::kProtocolError);
}

TEST_F(Http1WebSocketClient, PassesARefusalOn) {
  HeardResponse& response = askForOne();
  answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_EQ(response.head->status, 403);
  EXPECT_EQ(response.body, "no");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
}

TEST_F(Http1WebSocketClient, DoesNotTakeASuccessThatIsNoUpgradeForOne) {
  HeardResponse& response = askForOne();
  answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(response.head->status, 501);
  EXPECT_EQ(response.body, "hi");
}

}  // namespace
}  // namespace penstock::http
