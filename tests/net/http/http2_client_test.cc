// The client side of HTTP/2 against a server made by hand: what may be retried, what may not.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/http/http2_client_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::seconds;

constexpr std::uint16_t kMaxStreams = 3;
constexpr std::uint16_t kInitialWindow = 4;
constexpr std::uint32_t kNoError = 0;
constexpr std::uint32_t kRefusedStream = 7;
constexpr std::uint32_t kCancel = 8;

TEST_F(Http2ClientTest, IsReadyWhenTheServersSettingsHaveCome) {
  start();
  EXPECT_EQ(ready_, 0);
  EXPECT_FALSE(client_->canOpen());
  const auto frames = peer_->take();
  ASSERT_GE(frames.size(), 2u);
  EXPECT_EQ(frames[0].payload, settingsFrame({{2, 0}, {4, 256 * 1024}, {6, 64 * 1024}}).substr(9));
  EXPECT_EQ(wordAt(frames[1], 0), (4u << 20) - 65535u);
  send(settingsFrame({}));
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http2ClientTest, AsksAndReadsTheAnswer) {
  handshake();
  SeenResponse& response = open();
  RequestHead head = request("POST", "/v1/models/m:predict");
  head.headers.add("content-type", "text/plain");
  head.headers.add("te", "trailers");
  head.headers.add("connection", "close");
  head.headers.add("host", "other");
  head.headers.add("x-bad", "a\nb");
  head.content_length = 5;
  response.stream->sendHead(head, false);
  sendBody(response, "hello", true);
  EXPECT_FALSE(response.stream->started());
  settle();
  EXPECT_TRUE(response.stream->started());
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(peer_->decode(frames[0]), (FieldList{{":method", "POST"},
                                                 {":scheme", "http"},
                                                 {":authority", "model"},
                                                 {":path", "/v1/models/m:predict"},
                                                 {"content-type", "text/plain"},
                                                 {"te", "trailers"},
                                                 {"content-length", "5"}}));
  EXPECT_EQ(frames[1].payload, "hello");
  EXPECT_EQ(frames[1].flags, kEndStream);

  send(headersFrame(1, {{":status", "100"}}, false) +
       headersFrame(1, {{":status", "200"}, {"x", "y"}, {"content-length", "3"}}, false) +
       dataFrame(1, "yes", false) + headersFrame(1, {{"grpc-status", "0"}}, true));
  ASSERT_EQ(response.informational.size(), 1u);
  EXPECT_EQ(response.head->status, 200);
  EXPECT_EQ(response.head->content_length, 3u);
  EXPECT_EQ(response.head->headers.size(), 1u);
  EXPECT_EQ(response.body, "yes");
  EXPECT_EQ(response.trailers->get("grpc-status"), "0");
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_EQ(client_->activeStreams(), 0u);
  EXPECT_GE(capacity_, 1);
}

TEST_F(Http2ClientTest, TheAnswerToHeadHasALengthAndNoBody) {
  handshake();
  SeenResponse& response = open();
  response.stream->sendHead(request("HEAD"), true);
  settle();
  send(headersFrame(1, {{":status", "200"}, {"content-length", "1000"}}, true));
  EXPECT_EQ(response.end, StreamEnd::kComplete);
  EXPECT_EQ(response.head->content_length, 1000u);
}

TEST_F(Http2ClientTest, SendsTrailers) {
  handshake();
  SeenResponse& response = ask(false);
  Headers trailers;
  trailers.add("x-checksum", "7");
  response.stream->sendTrailers(trailers);
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 2u);
  peer_->decode(frames[0]);
  EXPECT_EQ(peer_->decode(frames[1]), (FieldList{{"x-checksum", "7"}}));
  EXPECT_EQ(frames[1].flags, kEndStream | kEndHeaders);
}

TEST_F(Http2ClientTest, SpellsOutTheNameOfAFieldThatNeverRepeatsOnlyOnce) {
  handshake();
  std::vector<std::size_t> sizes;
  for (const char* id : {"0001", "0002", "0003"}) {
    SeenResponse& response = open();
    RequestHead head = request();
    head.headers.add("x-request-id", id);
    response.stream->sendHead(head, true);
    settle();
    const auto frames = peer_->take();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(peer_->decode(frames[0]).back(), (FieldList::value_type{"x-request-id", id}));
    sizes.push_back(frames[0].payload.size());
  }
  EXPECT_LT(sizes[1] + 8, sizes[0]);
  EXPECT_EQ(sizes[2], sizes[1]);
}

TEST_F(Http2ClientTest, NamesThePeerWhenTheRequestHadNoHost) {
  handshake();
  SeenResponse& response = open();
  RequestHead head = request();
  head.authority.clear();
  response.stream->sendHead(head, true);
  settle();
  EXPECT_EQ(peer_->decode(peer_->take().at(0)).at(2).second, "127.0.0.1:80");
}

TEST_F(Http2ClientTest, NeverWritesARequestLineThatItsPeerCouldMisread) {
  handshake();
  SeenResponse& response = open();
  response.stream->sendHead(request("GET", "/a b\r\n"), true);
  settle();
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
  EXPECT_TRUE(peer_->take().empty());
}

TEST_F(Http2ClientTest, KeepsToTheServersStreamLimit) {
  handshake({{kMaxStreams, 2}});
  ask();
  EXPECT_TRUE(client_->canOpen());
  ask();
  EXPECT_FALSE(client_->canOpen());
  settle();
  capacity_ = 0;
  send(headersFrame(1, {{":status", "200"}}, true));
  EXPECT_EQ(capacity_, 1);
  ask();
  EXPECT_FALSE(client_->canOpen());
  send(settingsFrame({{kMaxStreams, 3}}));
  EXPECT_EQ(capacity_, 2);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http2ClientTest, ARefusedStreamMayBeRetried) {
  handshake();
  SeenResponse& response = ask();
  settle();
  send(resetFrame(1, kRefusedStream));
  EXPECT_EQ(response.end, StreamEnd::kRefused);
}

TEST_F(Http2ClientTest, AnotherResetMayNot) {
  handshake();
  SeenResponse& response = ask();
  SeenResponse& half = ask();
  settle();
  send(resetFrame(1, kCancel) + headersFrame(3, {{":status", "200"}}, false) +
       dataFrame(3, "ha", false) + resetFrame(3, kNoError));
  EXPECT_EQ(response.end, StreamEnd::kPeerReset);
  EXPECT_EQ(half.end, StreamEnd::kPeerReset) << "the response was not complete";
}

TEST_F(Http2ClientTest, AnAnswerBeforeTheEndOfTheRequestIsComplete) {
  handshake();
  SeenResponse& response = ask(false);
  sendBody(response, "part", false);
  settle();
  send(headersFrame(1, {{":status", "413"}}, true) + resetFrame(1, kNoError));
  EXPECT_EQ(response.head->status, 413);
  EXPECT_EQ(response.end, StreamEnd::kComplete);
}

TEST_F(Http2ClientTest, StreamsAboveTheLastOfAGoawayMayBeRetried) {
  handshake();
  SeenResponse& first = ask();
  SeenResponse& second = ask();
  settle();
  send(goawayFrame(1, kNoError));
  EXPECT_EQ(draining_, 1);
  EXPECT_FALSE(client_->canOpen());
  EXPECT_EQ(second.end, StreamEnd::kRefused);
  EXPECT_FALSE(first.end.has_value());
  send(headersFrame(1, {{":status", "200"}}, true));
  EXPECT_EQ(first.end, StreamEnd::kComplete);
  EXPECT_TRUE(peer_->sawEnd()) << "nothing is left to do";
  peer_->close();
  settle();
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http2ClientTest, AGracefulGoawayRefusesNothing) {
  handshake();
  SeenResponse& first = ask();
  settle();
  send(goawayFrame(0x7fffffff, kNoError));
  EXPECT_EQ(draining_, 1);
  EXPECT_FALSE(client_->canOpen());
  send(goawayFrame(1, kNoError) + headersFrame(1, {{":status", "200"}}, true));
  EXPECT_EQ(first.end, StreamEnd::kComplete);
  EXPECT_EQ(draining_, 1);
}

TEST_F(Http2ClientTest, ARequestNotYetWrittenMayBeRetriedWhenTheConnectionIsLost) {
  handshake();
  SeenResponse& written = ask();
  settle();
  SeenResponse& headless = open();
  SeenResponse& unwritten = ask();
  peer_->close();
  settle();
  EXPECT_EQ(written.end, StreamEnd::kConnectionLost);
  EXPECT_EQ(headless.end, StreamEnd::kRefused);
  EXPECT_EQ(unwritten.end, StreamEnd::kRefused);
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http2ClientTest, ARequestThatWaitsBehindAGoawayIsNeverWritten) {
  handshake();
  peer_->send(goawayFrame(0, kNoError));
  SeenResponse& response = ask();
  settle();
  EXPECT_EQ(response.end, StreamEnd::kRefused);
}

TEST_F(Http2ClientTest, ResetsBeforeAndAfterTheRequestIsWritten) {
  handshake();
  SeenResponse& unwritten = ask();
  unwritten.stream->reset(ResetReason::kCancel);
  settle();
  EXPECT_TRUE(peer_->take().empty());
  SeenResponse& written = ask();
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1u);
  const std::int32_t id = frames[0].stream;
  written.stream->reset(ResetReason::kCancel);
  settle();
  const auto resets = peer_->take();
  ASSERT_EQ(resets.size(), 1u);
  EXPECT_EQ(resets[0].type, kResetFrame);
  EXPECT_EQ(wordAt(resets[0], 0), kCancel);
  send(headersFrame(id, {{":status", "200"}}, true));
  EXPECT_FALSE(written.end.has_value() || unwritten.end.has_value());
  EXPECT_EQ(client_->activeStreams(), 0u);
}

TEST_F(Http2ClientTest, BoundsResponseHeaders) {
  limits_.max_header_fields = 3;
  handshake();
  SeenResponse& at_limit = ask();
  SeenResponse& over = ask();
  SeenResponse& malformed = ask();
  settle();
  FieldList fields = {{":status", "200"}, {"a", "1"}, {"b", "1"}, {"c", "1"}};
  send(headersFrame(1, fields, true));
  fields.emplace_back("d", "1");
  send(headersFrame(3, fields, true) +
       headersFrame(5, {{":status", "200"}, {"a", "1\r\n2"}}, true));
  EXPECT_EQ(at_limit.end, StreamEnd::kComplete);
  EXPECT_EQ(over.end, StreamEnd::kProtocolError);
  EXPECT_FALSE(over.head.has_value());
  EXPECT_EQ(malformed.end, StreamEnd::kProtocolError);
  EXPECT_FALSE(malformed.head.has_value());
}

TEST_F(Http2ClientTest, BoundsInformationalResponses) {
  handshake();
  SeenResponse& response = ask();
  settle();
  for (int i = 0; i < 10; ++i) {
    send(headersFrame(1, {{":status", "103"}}, false));
  }
  EXPECT_EQ(response.informational.size(), 10u);
  EXPECT_FALSE(response.end.has_value());
  send(headersFrame(1, {{":status", "103"}}, false));
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
}

TEST_F(Http2ClientTest, HoldsBackAResponseThatIsNotConsumed) {
  limits_.stream_window = 65535;
  handshake();
  SeenResponse& response = ask();
  response.consumes = false;
  settle();
  send(headersFrame(1, {{":status", "200"}}, false));
  for (int i = 0; i < 3; ++i) {
    send(dataFrame(1, std::string(16384, 'x'), false));
  }
  const auto granted = [this] {
    std::uint32_t sum = 0;
    for (const Frame& frame : peer_->take()) {
      sum += frame.type == kWindowFrame && frame.stream == 1 ? wordAt(frame, 0) : 0;
    }
    return sum;
  };
  EXPECT_EQ(granted(), 0u);
  response.stream->consume(3 * 16384);
  settle();
  EXPECT_EQ(granted(), 3u * 16384u);
}

TEST_F(Http2ClientTest, SendsABodyAsTheWindowAllows) {
  handshake({{kInitialWindow, 1000}});
  SeenResponse& response = ask(false);
  sendBody(response, std::string(300'000, 'x'), true);
  settle();
  EXPECT_EQ(response.stream->unsentBytes(), 299'000u);
  send(windowFrame(0, 1 << 20) + windowFrame(1, 200'000));
  EXPECT_EQ(response.stream->unsentBytes(), 99'000u);
  EXPECT_EQ(response.send_ready, 1);
}

TEST_F(Http2ClientTest, FindsOutThatThePeerSpeaksHttp1) {
  start(true);
  send("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(not_http2_, NotHttp2::kSaid);
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http2ClientTest, FindsOutThatThePeerHangsUpOnThePreface) {
  start(true);
  peer_->shutdownWriting();
  settle();
  EXPECT_EQ(not_http2_, NotHttp2::kHungUp);
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http2ClientTest, FindsOutThatThePeerIgnoresThePreface) {
  start(true);
  advance(limits_.preface_timeout);
  EXPECT_EQ(not_http2_, NotHttp2::kSaid);
}

TEST_F(Http2ClientTest, WithPriorKnowledgeAnythingElseClosesTheConnection) {
  start(false);
  send("HTTP/1.1 400 Bad Request\r\n\r\n");
  peer_->close();
  settle();
  EXPECT_FALSE(not_http2_.has_value());
  EXPECT_TRUE(closed_.has_value());
  EXPECT_EQ(ready_, 0);
}

TEST_F(Http2ClientTest, WaitsSoLongForTheAnswerToSettings) {
  start();
  send(settingsFrame({}));
  SeenResponse& response = ask();
  settle();
  advance(seconds(10));
  EXPECT_EQ(response.end, StreamEnd::kTimeout);
  EXPECT_EQ(draining_, 1);
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2ClientTest, ClosesWhenIdleForLong) {
  handshake();
  SeenResponse& response = ask();
  advance(seconds(600));
  EXPECT_FALSE(response.end.has_value()) << "a waiting request is not idleness";
  send(headersFrame(1, {{":status", "200"}}, true));
  advance(seconds(59));
  EXPECT_FALSE(peer_->sawEnd());
  advance(seconds(1));
  EXPECT_EQ(draining_, 1);
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2ClientTest, CloseTellsStreamsAndNotTheOwner) {
  handshake();
  SeenResponse& response = ask();
  client_->close();
  settle();
  EXPECT_EQ(response.end, StreamEnd::kLocal);
  EXPECT_FALSE(closed_.has_value());
}

}  // namespace
}  // namespace penstock::http
