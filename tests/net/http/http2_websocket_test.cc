// WebSockets over HTTP/2 (RFC 8441), frames by hand on the other side.

#include <string>

#include <gtest/gtest.h>

#include "tests/net/http/http2_client_fixture.h"
#include "tests/net/http/http2_server_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint16_t kEnableConnectProtocol = 8;
constexpr std::uint32_t kNoError = 0;
constexpr std::uint32_t kCancel = 8;

class Http2WebSocketServer : public Http2ServerTest {
 protected:
  SeenRequest& ask(const FieldList& more = {}) {
    FieldList fields = requestFields("CONNECT", "/chat", {{":protocol", "websocket"}});
    fields.insert(fields.end(), more.begin(), more.end());
    send(headersFrame(1, fields, false));
    EXPECT_EQ(requests_.size(), 1U);
    return *requests_.back();
  }
  SeenRequest& accepted() {
    SeenRequest& request = ask();
    request.stream->sendHead({}, false);
    settle();
    peer_->take();
    return request;
  }
};

TEST_F(Http2WebSocketServer, AcceptsWith200AndLeavesTheHandshakeOut) {
  handshake();
  SeenRequest& request = ask({{"sec-websocket-version", "13"},
                              {"sec-websocket-key", "x"},
                              {"sec-websocket-protocol", "chat"}});
  EXPECT_TRUE(request.head.isWebSocket());
  EXPECT_EQ(request.head.path, "/chat");
  EXPECT_EQ(request.head.headers.size(), 1U);
  EXPECT_FALSE(request.ended);
  ResponseHead head;
  head.headers.add("sec-websocket-protocol", "chat");
  head.headers.add("sec-websocket-accept", "x");
  head.content_length = 5;
  request.stream->sendHead(head, false);
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(peer_->decode(frames[0]),
            (FieldList{{":status", "200"}, {"sec-websocket-protocol", "chat"}}));
  EXPECT_EQ(frames[0].flags & kEndStream, 0);
}

TEST_F(Http2WebSocketServer, CarriesBytesBothWaysUntilBothHaveEnded) {
  handshake();
  SeenRequest& request = accepted();
  send(dataFrame(1, "question", false));
  EXPECT_EQ(request.body, "question");
  request.sendBody("answer", false);
  settle();
  EXPECT_EQ(bodyOf(peer_->take(), 1), "answer");
  send(dataFrame(1, "", true));
  EXPECT_TRUE(request.ended);
  EXPECT_FALSE(request.end.has_value());
  request.sendBody("bye", true);
  settle();
  EXPECT_EQ(bodyOf(peer_->take(), 1), "bye");
  EXPECT_EQ(request.end, StreamEnd::kComplete);
}

TEST_F(Http2WebSocketServer, EndsWithTheResponse) {
  handshake();
  SeenRequest& request = accepted();
  request.sendBody("bye", true);
  settle();
  EXPECT_EQ(request.end, StreamEnd::kComplete);
  EXPECT_EQ(resetOf(peer_->take(), 1), kNoError);
}

TEST_F(Http2WebSocketServer, LeavesItAloneForAsLongAsItIsSilent) {
  handshake();
  SeenRequest& request = ask();
  advance(minutes(10));
  EXPECT_FALSE(request.end.has_value()) << "a client that waits for the answer is not slow";
  request.stream->sendHead({}, false);
  send(dataFrame(1, "x", false));
  advance(minutes(10));
  EXPECT_FALSE(request.end.has_value());
  EXPECT_TRUE(rejections_.empty());
}

TEST_F(Http2WebSocketServer, DoesNotWaitForAClientThatDoesNotRead) {
  handshake({{4, 0}});
  SeenRequest& request = accepted();
  request.sendBody("nobody takes it", false);
  advance(seconds(29));
  EXPECT_FALSE(request.end.has_value());
  advance(seconds(1));
  EXPECT_EQ(request.end, StreamEnd::kTimeout);
}

TEST_F(Http2WebSocketServer, TellsOfAReset) {
  handshake();
  SeenRequest& request = accepted();
  send(resetFrame(1, kCancel));
  EXPECT_EQ(request.end, StreamEnd::kPeerReset);
}

TEST_F(Http2WebSocketServer, SaysWhichVersionItTakes) {
  handshake();
  send(headersFrame(
      1,
      requestFields("CONNECT", "/", {{":protocol", "websocket"}, {"sec-websocket-version", "8"}}),
      false));
  for (const Frame& frame : peer_->take()) {
    if (frame.type == kHeadersFrame) {
      const FieldList fields = peer_->decode(frame);
      EXPECT_NE(std::ranges::find(
                    fields, std::pair<std::string, std::string>("sec-websocket-version", "13")),
                fields.end());
    }
  }
  EXPECT_EQ(rejections_, std::vector{ServerConnection::Rejection::kWebSocketVersion});
}

class Http2WebSocketClient : public Http2ClientTest {
 protected:
  static RequestHead webSocket() {
    RequestHead head = request("CONNECT", "/chat");
    head.protocol = "websocket";
    return head;
  }
  SeenResponse& askForOne() {
    SeenResponse& response = open();
    response.stream->sendHead(webSocket(), false);
    settle();
    return response;
  }
};

TEST_F(Http2WebSocketClient, AsksWithExtendedConnect) {
  handshake({{kEnableConnectProtocol, 1}});
  EXPECT_TRUE(client_->takesWebSockets());
  SeenResponse& response = open();
  RequestHead head = webSocket();
  head.headers.add("sec-websocket-protocol", "chat");
  head.headers.add("sec-websocket-key", "x");
  response.stream->sendHead(head, false);
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(peer_->decode(frames[0]), (FieldList{{":method", "CONNECT"},
                                                 {":scheme", "http"},
                                                 {":authority", "model"},
                                                 {":path", "/chat"},
                                                 {":protocol", "websocket"},
                                                 {"sec-websocket-version", "13"},
                                                 {"sec-websocket-protocol", "chat"}}));
  EXPECT_EQ(frames[0].flags & kEndStream, 0);
}

TEST_F(Http2WebSocketClient, SendsNothingToAPeerThatHasNotAnnouncedIt) {
  handshake();
  EXPECT_FALSE(client_->takesWebSockets());
  SeenResponse& response = askForOne();
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
  EXPECT_TRUE(peer_->take().empty());
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http2WebSocketClient, CarriesBytesBothWaysAndEndsItsOwnDirectionFirst) {
  handshake({{kEnableConnectProtocol, 1}});
  SeenResponse& response = askForOne();
  send(headersFrame(1, {{":status", "200"}, {"sec-websocket-accept", "x"}}, false) +
       dataFrame(1, "hello", false));
  EXPECT_EQ(response.head->status, 200);
  EXPECT_TRUE(response.head->headers.empty());
  EXPECT_EQ(response.body, "hello");
  peer_->take();
  sendBody(response, "bye", true);
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].payload, "bye");
  EXPECT_EQ(frames[0].flags, kEndStream);
  EXPECT_FALSE(response.end.has_value());
  send(dataFrame(1, "good", true));
  EXPECT_EQ(response.body, "hellogood");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
}

TEST_F(Http2WebSocketClient, PassesARefusalOnAndDoesNotTakeAnotherSuccessForAnAcceptance) {
  handshake({{kEnableConnectProtocol, 1}});
  SeenResponse& refused = askForOne();
  send(headersFrame(1, {{":status", "403"}}, true));
  EXPECT_EQ(refused.head->status, 403);
  EXPECT_TRUE(refused.ended);
  SeenResponse& other = askForOne();
  send(headersFrame(3, {{":status", "202"}}, true));
  EXPECT_EQ(other.head->status, 501);
}

}  // namespace
}  // namespace penstock::http
