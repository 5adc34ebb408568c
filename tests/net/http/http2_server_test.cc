// What a well-behaved client sees of the server side of HTTP/2.

#include <string>

#include "tests/net/http/http2_server_fixture.h"

namespace penstock::http {
namespace {

constexpr std::uint32_t kNoError = 0;
constexpr std::uint32_t kStreamClosed = 5;
constexpr std::uint32_t kRefusedStream = 7;
constexpr std::uint32_t kCancel = 8;

TEST_F(Http2ServerTest, AnnouncesItsLimits) {
  start();
  const auto frames = peer_->take();
  ASSERT_GE(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, kSettingsFrame);
  std::vector<std::pair<std::uint16_t, std::uint32_t>> settings = {
      {3, 100}, {8, 1}, {4, 256 * 1024}, {6, 64 * 1024}};
  EXPECT_EQ(frames[0].payload, settingsFrame(settings).substr(9));
  EXPECT_EQ(frames[1].type, kWindowFrame);
  EXPECT_EQ(frames[1].stream, 0);
  EXPECT_EQ(wordAt(frames[1], 0), (4u << 20) - 65535u);
}

TEST_F(Http2ServerTest, AnswersARequestWithHeadBodyAndTrailers) {
  handshake();
  send(headersFrame(
           1,
           requestFields(
               "POST", "/v1/models/m:predict?x=1",
               {{"content-type", "text/plain"}, {"te", "trailers"}, {"content-length", "5"}}),
           false) +
       dataFrame(1, "hello", true));
  ASSERT_EQ(requests_.size(), 1u);
  SeenRequest& request = *requests_[0];
  EXPECT_EQ(request.head.method, "POST");
  EXPECT_EQ(request.head.scheme, "http");
  EXPECT_EQ(request.head.authority, "model");
  EXPECT_EQ(request.head.path, "/v1/models/m:predict?x=1");
  EXPECT_EQ(request.head.content_length, 5u);
  EXPECT_EQ(request.head.headers.size(), 2u);
  EXPECT_EQ(request.head.headers.get("te"), "trailers");
  EXPECT_EQ(request.body, "hello");
  EXPECT_TRUE(request.ended);

  ResponseHead head;
  head.status = 201;
  head.headers.add("x-answer", "42");
  head.content_length = 3;
  request.stream->sendHead(head, false);
  request.sendBody("yes", false);
  Headers trailers;
  trailers.add("grpc-status", "0");
  request.stream->sendTrailers(trailers);
  settle();

  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(peer_->decode(frames[0]),
            (FieldList{{":status", "201"}, {"x-answer", "42"}, {"content-length", "3"}}));
  EXPECT_EQ(frames[1].payload, "yes");
  EXPECT_EQ(frames[1].flags, 0);
  EXPECT_EQ(peer_->decode(frames[2]), (FieldList{{"grpc-status", "0"}}));
  EXPECT_EQ(frames[2].flags, kEndStream | kEndHeaders);
  EXPECT_EQ(request.end, StreamEnd::kComplete);
  EXPECT_EQ(server_->activeStreams(), 0u);
}

TEST_F(Http2ServerTest, AnswersInsideTheCallback) {
  handshake();
  on_head_ = [](SeenRequest& request) { request.answer(200, "at once"); };
  send(headersFrame(1, requestFields("GET", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true));
  const auto frames = peer_->take();
  EXPECT_EQ(bodyOf(frames, 1), "at once");
  EXPECT_EQ(bodyOf(frames, 3), "at once");
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
}

TEST_F(Http2ServerTest, TakesNothingMoreOnAStreamThatTheClientHasEnded) {
  const std::string late[] = {dataFrame(1, "late", true),
                              headersFrame(1, requestFields("GET", "/"), true)};
  for (const std::string& frame : late) {
    for (const bool reset : {false, true}) {
      SCOPED_TRACE(reset);
      makePair();
      handshake();
      requests_.clear();
      send(headersFrame(1, requestFields("POST", "/"), !reset));
      ASSERT_EQ(requests_.size(), 1u);
      if (reset) {
        send(resetFrame(1, kCancel));
      } else {
        requests_[0]->answer(200, "done");
      }
      settle();
      ASSERT_EQ(server_->activeStreams(), 0u);
      peer_->take();
      // Others have come and gone meanwhile.
      on_head_ = [](SeenRequest& request) { request.answer(200, "at once"); };
      for (int id = 3; id < 203; id += 2) {
        send(headersFrame(id, requestFields("GET", "/"), true));
      }
      on_head_ = nullptr;
      EXPECT_EQ(count(peer_->take(), kGoawayFrame), 0u);
      send(frame);
      const auto frames = peer_->take();
      ASSERT_EQ(frames.size(), 1u);
      EXPECT_EQ(frames[0].type, kGoawayFrame);
      EXPECT_EQ(wordAt(frames[0], 4), kStreamClosed);
    }
  }
}

TEST_F(Http2ServerTest, ForgivesWhatWasOnTheWayToAStreamThatItHasReset) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false));
  ASSERT_EQ(requests_.size(), 1u);
  requests_[0]->stream->reset(ResetReason::kCancel);
  settle();
  peer_->take();
  send(dataFrame(1, "on its way", true) + headersFrame(3, requestFields("GET", "/"), true));
  ASSERT_EQ(requests_.size(), 2u);
  requests_[1]->answer(200, "served");
  settle();
  EXPECT_EQ(bodyOf(peer_->take(), 3), "served");
}

TEST_F(Http2ServerTest, PassesRequestTrailers) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false) + dataFrame(1, "a", false) +
       headersFrame(1, {{"x-checksum", "7"}}, true));
  ASSERT_EQ(requests_.size(), 1u);
  ASSERT_TRUE(requests_[0]->trailers.has_value());
  EXPECT_EQ(requests_[0]->trailers->get("x-checksum"), "7");
}

TEST_F(Http2ServerTest, JoinsCookieCrumbsAndFoldsHostIntoAuthority) {
  handshake();
  FieldList fields = {{":method", "GET"},   {":scheme", "https"}, {":path", "/"},
                      {"host", "model:80"}, {"cookie", "a=1"},    {"x", "y"},
                      {"cookie", "b=2"}};
  send(headersFrame(1, fields, true));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->head.authority, "model:80");
  EXPECT_EQ(requests_[0]->head.headers.count("cookie"), 1u);
  EXPECT_EQ(requests_[0]->head.headers.get("cookie"), "a=1; b=2");
  EXPECT_FALSE(requests_[0]->head.headers.has("host"));
}

TEST_F(Http2ServerTest, AcceptsHostThatAgreesWithAuthority) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/", {{"host", "MODEL"}}), true));
  EXPECT_EQ(requests_.size(), 1u);
}

TEST_F(Http2ServerTest, SendsContinueOnceAndOnlyWhenAsked) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/", {{"expect", "100-continue"}}), false) +
       headersFrame(3, requestFields("POST", "/"), false));
  ASSERT_EQ(requests_.size(), 2u);
  EXPECT_FALSE(requests_[0]->head.headers.has("expect"));
  requests_[0]->stream->sendContinue();
  requests_[0]->stream->sendContinue();
  requests_[1]->stream->sendContinue();
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].stream, 1);
  EXPECT_EQ(peer_->decode(frames[0]), (FieldList{{":status", "100"}}));
  send(dataFrame(1, "body", true));
  requests_[0]->answer(200);
  settle();
  EXPECT_EQ(statusOf(peer_->take(), 1), 200);
}

TEST_F(Http2ServerTest, SendsInformationalResponses) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  Headers hints;
  hints.add("link", "</a.css>");
  requests_[0]->stream->sendInformational(103, hints);
  requests_[0]->answer(200);
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(peer_->decode(frames[0]), (FieldList{{":status", "103"}, {"link", "</a.css>"}}));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
}

TEST_F(Http2ServerTest, StopsARequestWhoseResponseIsComplete) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false) + dataFrame(1, "part", false));
  requests_[0]->answer(413, "too much");
  settle();
  const auto frames = peer_->take();
  EXPECT_EQ(statusOf(frames, 1), 413);
  EXPECT_EQ(bodyOf(frames, 1), "too much");
  EXPECT_EQ(resetOf(frames, 1), kNoError);
  EXPECT_EQ(frames.back().type, kResetFrame);
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
}

TEST_F(Http2ServerTest, SendsNoBodyWhereNoneBelongs) {
  handshake();
  send(headersFrame(1, requestFields("HEAD", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true));
  requests_[0]->answer(200, "body of GET");
  requests_[1]->answer(204, "nothing");
  settle();
  const auto frames = peer_->take();
  EXPECT_EQ(bodyOf(frames, 1) + bodyOf(frames, 3), "");
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
  EXPECT_EQ(requests_[1]->end, StreamEnd::kComplete);
}

TEST_F(Http2ServerTest, TellsThatTheClientHasReset) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false) + dataFrame(1, "part", false));
  send(resetFrame(1, kCancel));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kPeerReset);
  EXPECT_EQ(server_->activeStreams(), 0u);
}

TEST_F(Http2ServerTest, TellsAllStreamsThatTheConnectionIsLost) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true));
  peer_->close();
  settle();
  EXPECT_EQ(requests_[0]->end, StreamEnd::kPeerReset);
  EXPECT_EQ(requests_[1]->end, StreamEnd::kPeerReset);
  EXPECT_TRUE(closed_);
}

TEST_F(Http2ServerTest, ResetsAStreamWithItsReasonAndTellsNobody) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true));
  requests_[0]->stream->reset(ResetReason::kRefused);
  requests_[1]->stream->reset(ResetReason::kInternal);
  settle();
  const auto frames = peer_->take();
  EXPECT_EQ(resetOf(frames, 1), kRefusedStream);
  EXPECT_EQ(resetOf(frames, 3), 2u);
  EXPECT_FALSE(requests_[0]->end.has_value());
  EXPECT_EQ(server_->activeStreams(), 0u);
}

TEST_F(Http2ServerTest, MayResetAStreamInAnyCallback) {
  handshake();
  on_head_ = [](SeenRequest& request) {
    request.on_data = [](SeenRequest& now) { now.stream->reset(ResetReason::kCancel); };
  };
  consumes_ = false;
  send(headersFrame(1, requestFields("POST", "/"), false) + dataFrame(1, "a", false) +
       dataFrame(1, "b", true));
  EXPECT_EQ(requests_[0]->body, "a");
  EXPECT_EQ(resetOf(peer_->take(), 1), kCancel);
}

TEST_F(Http2ServerTest, MayCloseTheConnectionInAnyCallback) {
  handshake();
  on_head_ = [this](SeenRequest&) {
    if (requests_.size() == 2) {
      server_->close();
    }
  };
  send(headersFrame(1, requestFields("GET", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true) +
       headersFrame(5, requestFields("GET", "/"), true));
  EXPECT_EQ(requests_.size(), 2u);
  EXPECT_EQ(requests_[0]->end, StreamEnd::kLocal);
  EXPECT_EQ(requests_[1]->end, StreamEnd::kLocal);
  EXPECT_FALSE(closed_) << "close() itself is not reported";
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2ServerTest, MayCloseTheConnectionWhileItIsWriting) {
  handshake();
  on_end_ = [this](SeenRequest&) { server_->close(); };
  send(headersFrame(1, requestFields("GET", "/"), true) +
       headersFrame(3, requestFields("GET", "/"), true));
  requests_[0]->answer(200, "a");
  requests_[1]->answer(200, "b");
  settle();
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2ServerTest, RefusesAStreamNobodyWants) {
  handshake();
  refuse_streams_ = true;
  send(headersFrame(1, requestFields("GET", "/"), true));
  EXPECT_EQ(resetOf(peer_->take(), 1), kRefusedStream);
  EXPECT_EQ(server_->activeStreams(), 0u);
}

TEST_F(Http2ServerTest, DrainsWithTwoGoawaysAndLosesNothingSentMeanwhile) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  server_->drain(ServerConnection::Idle::kClose);
  settle();
  auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, kGoawayFrame);
  EXPECT_EQ(wordAt(frames[0], 0), 0x7fffffffu);
  ASSERT_EQ(frames[1].type, kPingFrame);
  // Sent before the client had seen the first GOAWAY.
  send(headersFrame(3, requestFields("GET", "/late"), true) +
       makeFrame(kPingFrame, kAck, 0, frames[1].payload));
  frames = peer_->take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, kGoawayFrame);
  EXPECT_EQ(wordAt(frames[0], 0), 3u);
  // After the last GOAWAY: not served.
  send(headersFrame(5, requestFields("GET", "/too-late"), true));
  ASSERT_EQ(requests_.size(), 2u);
  requests_[0]->answer(200, "one");
  settle();
  EXPECT_FALSE(peer_->sawEnd());
  requests_[1]->answer(200, "three");
  settle();
  frames = peer_->take();
  EXPECT_EQ(bodyOf(frames, 1), "one");
  EXPECT_EQ(bodyOf(frames, 3), "three");
  EXPECT_TRUE(peer_->sawEnd());
  peer_->close();
  settle();
  EXPECT_TRUE(closed_);
}

TEST_F(Http2ServerTest, AnswersTheFirstRequestOfAConnectionThatDrains) {
  handshake();
  server_->drain(ServerConnection::Idle::kAnswer);
  settle();
  EXPECT_TRUE(peer_->take().empty());
  send(headersFrame(1, requestFields("GET", "/"), true));
  EXPECT_EQ(count(peer_->take(), kGoawayFrame), 1u);
  requests_.at(0)->answer(200, "one");
  settle();
  EXPECT_EQ(bodyOf(peer_->take(), 1), "one");
}

TEST_F(Http2ServerTest, DrainsAConnectionWithoutARequestAfterAWhile) {
  handshake();
  server_->drain(ServerConnection::Idle::kAnswer);
  advance(ServerConnection::kDrainNotice);
  EXPECT_EQ(count(peer_->take(), kGoawayFrame), 1u);
  EXPECT_FALSE(peer_->sawEnd());
  advance(ServerConnection::kDrainNotice);
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2ServerTest, DrainsAnIdleConnectionOfASilentClient) {
  handshake();
  server_->drain(ServerConnection::Idle::kClose);
  settle();
  EXPECT_FALSE(peer_->sawEnd());
  advance(std::chrono::seconds(1));
  EXPECT_TRUE(peer_->sawEnd());
  EXPECT_EQ(count(peer_->take(), kGoawayFrame), 2u);
}

TEST_F(Http2ServerTest, WritesNoFieldThatNobodyShouldRead) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  Headers headers;
  headers.add("x-good", "kept");
  headers.add("x-bad", "a\r\nset-cookie: b");
  headers.add("Upper", "no");
  headers.add("x-nul", std::string("a\0b", 3));
  headers.add("connection", "close");
  headers.add("transfer-encoding", "chunked");
  headers.add("keep-alive", "timeout=1");
  requests_[0]->answer(200, "", std::move(headers));
  settle();
  const auto frames = peer_->take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(peer_->decode(frames[0]), (FieldList{{":status", "200"}, {"x-good", "kept"}}));
}

}  // namespace
}  // namespace penstock::http
