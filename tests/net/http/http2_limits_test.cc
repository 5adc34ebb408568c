// What one connection can make the server hold, and for how long.

#include <algorithm>
#include <string>
#include <vector>

#include "tests/net/http/http2_server_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kSettingsTimeout = 4;
constexpr std::uint32_t kRefusedStream = 7;
constexpr std::uint32_t kCancel = 8;

class Http2LimitsTest : public Http2ServerTest {
 protected:
  static constexpr int kTimeoutStatus =
      400 + static_cast<int>(ServerConnection::Rejection::kRequestTimeout);
  void openUpload(const FieldList& more = {}) {
    send(headersFrame(1, requestFields("POST", "/", more), false));
    ASSERT_EQ(requests_.size(), 1u);
  }
};

TEST_F(Http2LimitsTest, CountsWorkThatOutlivesItsStream) {
  limits_.max_streams = 3;
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  const auto reserved = std::make_shared<std::vector<StreamReservation>>();
  // The last streams end after this test.
  on_end_ = [this, kept = std::weak_ptr(reserved)](SeenRequest&) {
    if (const auto list = kept.lock()) {
      list->push_back(server_->reserveStream());
    }
  };
  send(headersFrame(3, requestFields("GET", "/"), true) + resetFrame(3, kCancel) +
       headersFrame(5, requestFields("GET", "/"), true) + resetFrame(5, kCancel) +
       headersFrame(7, requestFields("GET", "/"), true));
  EXPECT_EQ(requests_.size(), 3u);
  EXPECT_EQ(server_->activeStreams(), 3u);
  EXPECT_EQ(resetOf(peer_->take(), 7), kRefusedStream);
  reserved->pop_back();
  send(headersFrame(9, requestFields("GET", "/"), true));
  EXPECT_EQ(requests_.size(), 4u);
}

TEST_F(Http2LimitsTest, GoesAwayAfterSoManyRequests) {
  limits_.max_requests_per_connection = 2;
  handshake();
  on_head_ = [](SeenRequest& request) { request.answer(200); };
  send(headersFrame(1, requestFields("GET", "/"), true));
  EXPECT_EQ(count(peer_->take(), kGoawayFrame), 0u);
  send(headersFrame(3, requestFields("GET", "/"), true));
  const auto frames = peer_->take();
  ASSERT_EQ(count(frames, kGoawayFrame), 1u);
  EXPECT_EQ(statusOf(frames, 3), 200);
  send(makeFrame(kPingFrame, kAck, 0, std::string(8, '\0')));
  EXPECT_TRUE(peer_->sawEnd());
}

TEST_F(Http2LimitsTest, ClosesWhenTooManyFramesWaitToBeRead) {
  limits_.max_outbound_frames = 50;
  handshake();
  std::string pings;
  for (int i = 0; i < 51; ++i) {
    pings += makeFrame(kPingFrame, 0, 0, "12345678");
  }
  send(pings);
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, ClosesOnAFloodOfResetsThatNobodyReads) {
  limits_.max_outbound_frames = 200;
  handshake();
  // Each request is reset by us, and its stream freed by the client for the next.
  std::string flood;
  for (int i = 0; i < 300; ++i) {
    const std::int32_t id = 2 * i + 1;
    flood += headersFrame(id, requestFields("GET", "/", {{"te", "gzip"}}), true) +
             resetFrame(id, kCancel);
  }
  send(flood);
  EXPECT_TRUE(closed_);
  EXPECT_TRUE(requests_.empty());
}

TEST_F(Http2LimitsTest, ClosesTheSocketOnAFloodOfPingsOrContinuations) {
  handshake();
  std::string pings;
  for (int i = 0; i < 1500; ++i) {
    pings += makeFrame(kPingFrame, 0, 0, "12345678");
  }
  send(pings);
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, ClosesTheSocketOnTooManyContinuations) {
  handshake();
  const std::string block = encodeFields(requestFields("GET", "/"));
  std::string frames = makeFrame(kHeadersFrame, kEndStream, 1, block);
  for (int i = 0; i < 9; ++i) {
    frames += makeFrame(kContinuationFrame, i == 8 ? kEndHeaders : 0, 1, "");
  }
  send(frames);
  EXPECT_TRUE(closed_);
  EXPECT_TRUE(requests_.empty());
}

// What a client does too often ends its connection, but not before.
class Http2FloodTest : public Http2LimitsTest {
 protected:
  void onFlood(ServerConnection::Flood flood) override { floods_.push_back(flood); }
  void expectCalmed(ServerConnection::Flood why) {
    constexpr std::uint32_t kEnhanceYourCalm = 11;
    EXPECT_EQ(floods_, std::vector{why});
    EXPECT_TRUE(peer_->sawEnd());
    const auto frames = peer_->take();
    const auto goaway = std::ranges::find(frames, kGoawayFrame, &Frame::type);
    ASSERT_NE(goaway, frames.end());
    EXPECT_EQ(wordAt(*goaway, 4), kEnhanceYourCalm);
  }
  std::vector<ServerConnection::Flood> floods_;
};

TEST_F(Http2FloodTest, OfResetsByTheClient) {
  limits_.client_resets = {.burst = 5, .per_second = 1};
  handshake();
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(floods_.empty());
    EXPECT_FALSE(peer_->sawEnd());
    send(headersFrame(2 * i + 1, requestFields("GET", "/"), true) + resetFrame(2 * i + 1, kCancel));
  }
  expectCalmed(ServerConnection::Flood::kClientResets);
}

TEST_F(Http2FloodTest, OfResetsThatTheClientForces) {
  limits_.forced_resets = {.burst = 5, .per_second = 1};
  handshake();
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(peer_->sawEnd());
    send(headersFrame(2 * i + 1, requestFields("POST", "/"), false) +
         makeFrame(kWindowFrame, 0, 2 * i + 1, std::string("\x7f\xff\xff\xff", 4)));
  }
  expectCalmed(ServerConnection::Flood::kForcedResets);
}

TEST_F(Http2FloodTest, OfHeaderBlocksThatAreTooLarge) {
  limits_.forced_resets = {.burst = 5, .per_second = 1};
  limits_.max_header_bytes = 1000;
  handshake();
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(peer_->sawEnd());
    send(headersFrame(2 * i + 1, requestFields("GET", "/", {{"x", std::string(1000, 'a')}}), true));
  }
  expectCalmed(ServerConnection::Flood::kForcedResets);
}

// A field of 4000 bytes is in HPACK's table; count bytes make as many of it.
std::string references(std::size_t count) {
  return encodeFields(requestFields("GET", "/")) + std::string(count, static_cast<char>(0x80 | 62));
}

class Http2HeaderFloodTest : public Http2FloodTest {
 protected:
  void begin() {
    handshake();
    std::string indexed = encodeFields({{"x", std::string(4000, 'a')}});
    indexed[0] = 0x40;
    send(makeFrame(kHeadersFrame, kEndHeaders | kEndStream, 1,
                   encodeFields(requestFields("GET", "/")) + indexed));
    ASSERT_EQ(requests_.size(), 1u);
    requests_[0]->answer(200);
    settle();
    on_head_ = [](SeenRequest& request) { request.answer(200); };
  }
  // Sends blocks of references until the connection ends; false: it does not.
  bool endsWithin(int blocks, std::size_t each) {
    std::int32_t id = 3;
    for (int i = 0; i < blocks && !peer_->sawEnd(); ++i, id += 2) {
      send(makeFrame(kHeadersFrame, kEndHeaders | kEndStream, id, references(each)));
    }
    return peer_->sawEnd();
  }
};

TEST_F(Http2HeaderFloodTest, OfReferencesInBlocksThatAreTaken) {
  begin();
  EXPECT_TRUE(endsWithin(100, 15));
  expectCalmed(ServerConnection::Flood::kHeaderBytes);
}

TEST_F(Http2HeaderFloodTest, OfReferencesOnStreamsThatAreRefused) {
  limits_.max_streams = 1;
  begin();
  const StreamReservation reserved = server_->reserveStream();
  EXPECT_TRUE(endsWithin(100, 15));
  expectCalmed(ServerConnection::Flood::kHeaderBytes);
}

TEST_F(Http2HeaderFloodTest, OfReferencesToAFieldThatIsMalformed) {
  handshake();
  std::string indexed = encodeFields({{"x", std::string(3999, 'a') + '\n'}});
  indexed[0] = 0x40;
  send(makeFrame(kHeadersFrame, kEndHeaders | kEndStream, 1,
                 encodeFields(requestFields("GET", "/")) + indexed));
  EXPECT_TRUE(endsWithin(100, 15));
  expectCalmed(ServerConnection::Flood::kHeaderBytes);
}

TEST_F(Http2HeaderFloodTest, IsNoneInManyRequestsWithOneLargeCookie) {
  begin();
  EXPECT_FALSE(endsWithin(3000, 1));
  EXPECT_TRUE(floods_.empty());
}

TEST_F(Http2FloodTest, OfFramesThatNoRequestNeeds) {
  limits_.frames = {.burst = 50, .per_second = 1};
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false));
  std::string empty;
  for (int i = 0; i < 40; ++i) {
    empty += makeFrame(kDataFrame, 0, 1, "");
  }
  send(empty);
  EXPECT_FALSE(peer_->sawEnd());
  send(empty);
  expectCalmed(ServerConnection::Flood::kFrames);
}

TEST_F(Http2FloodTest, OfFramesThatNobodyKnows) {
  constexpr auto kUnknownFrame = static_cast<FrameType>(0xfa);
  limits_.frames = {.burst = 50, .per_second = 1};
  handshake();
  for (int i = 0; i < 60; ++i) {
    send(makeFrame(kUnknownFrame, 0, 0, "?"));
  }
  expectCalmed(ServerConnection::Flood::kFrames);
}

TEST_F(Http2FloodTest, IsNoneInAnUploadOfSingleBytes) {
  limits_.frames = {.burst = 50, .per_second = 1};
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false));
  std::string bytes;
  for (int i = 0; i < 1000; ++i) {
    bytes += makeFrame(kDataFrame, 0, 1, "x");
  }
  send(bytes);
  EXPECT_TRUE(floods_.empty());
  EXPECT_EQ(requests_[0]->body.size(), 1000u);
}

TEST_F(Http2FloodTest, IsNoneWhereTheReplicaOrWeEndStreams) {
  limits_.forced_resets = limits_.client_resets = {.burst = 2, .per_second = 1};
  handshake();
  on_head_ = [](SeenRequest& request) {
    request.stream->reset(request.head.path == "/1" ? ResetReason::kInternal
                                                    : ResetReason::kCancel);
  };
  for (int i = 0; i < 10; ++i) {
    send(headersFrame(2 * i + 1, requestFields("GET", i % 2 == 0 ? "/1" : "/2"), true));
  }
  EXPECT_TRUE(floods_.empty());
  EXPECT_FALSE(peer_->sawEnd());
}

TEST_F(Http2LimitsTest, WaitsSoLongForThePreface) {
  start();
  advance(milliseconds(4999));
  EXPECT_FALSE(closed_);
  advance(milliseconds(1));
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, ThePrefaceEndsWithSettings) {
  start();
  send(kPreface);
  advance(seconds(5));
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, ClosesOnABadPreface) {
  start();
  send("GET / HTTP/1.1\r\nhost: model\r\n\r\n");
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, WaitsSoLongForTheAnswerToSettings) {
  start();
  send(std::string(kPreface) + settingsFrame({}));
  send(headersFrame(1, requestFields("GET", "/"), true));
  advance(milliseconds(9999));
  EXPECT_FALSE(peer_->sawEnd());
  advance(milliseconds(1));
  EXPECT_TRUE(peer_->sawEnd());
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  for (const Frame& frame : peer_->take()) {
    if (frame.type == kGoawayFrame) {
      EXPECT_EQ(wordAt(frame, 4), kSettingsTimeout);
    }
  }
}

TEST_F(Http2LimitsTest, WaitsSoLongForTheEndOfHeaders) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  const std::string block = encodeFields(requestFields("GET", "/"));
  send(makeFrame(kHeadersFrame, kEndStream, 3, block));
  advance(seconds(5));
  send(makeFrame(kContinuationFrame, 0, 3, encodeFields({{"x", "y"}})));
  advance(milliseconds(4999));
  EXPECT_FALSE(peer_->sawEnd());
  advance(milliseconds(1));
  EXPECT_TRUE(peer_->sawEnd());
  EXPECT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  EXPECT_EQ(statusOf(peer_->take(), 3), kTimeoutStatus);
}

TEST_F(Http2LimitsTest, ABadOrRefusedRequestIsNoSlowOne) {
  limits_.max_streams = 2;
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  send(headersFrame(3, requestFields("GET", "/", {{"connection", "close"}}), true));
  send(headersFrame(5, {{":method", "GET"}}, true));
  send(headersFrame(7, requestFields("GET", "/", {{"x", "a\nb"}}), true));
  const StreamReservation reserved = server_->reserveStream();
  send(headersFrame(9, requestFields("GET", "/"), true));
  advance(seconds(30));
  EXPECT_FALSE(requests_[0]->end.has_value());
  EXPECT_FALSE(peer_->sawEnd());
}

TEST_F(Http2LimitsTest, ClosesAnIdleConnectionGracefully) {
  handshake();
  on_head_ = [](SeenRequest& request) { request.answer(200); };
  advance(seconds(30));
  send(headersFrame(1, requestFields("GET", "/"), true));
  peer_->take();
  advance(milliseconds(59'999));
  EXPECT_FALSE(peer_->sawEnd());
  // Pings keep nothing alive.
  send(makeFrame(kPingFrame, 0, 0, "12345678"));
  advance(milliseconds(1));
  EXPECT_TRUE(peer_->sawEnd());
  EXPECT_EQ(count(peer_->take(), kGoawayFrame), 1u);
  peer_->close();
  settle();
  EXPECT_TRUE(closed_);
}

TEST_F(Http2LimitsTest, DoesNotCallAConnectionWithAWaitingRequestIdle) {
  handshake();
  send(headersFrame(1, requestFields("GET", "/"), true));
  for (int i = 0; i < 100; ++i) {
    advance(seconds(10));
  }
  EXPECT_FALSE(requests_[0]->end.has_value());
  requests_[0]->answer(200);
  settle();
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
}

TEST_F(Http2LimitsTest, AnswersABodyThatStopsWith408) {
  limits_.min_body_rate = 0;
  handshake();
  openUpload();
  send(dataFrame(1, "part", false));
  advance(milliseconds(29'999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  send(dataFrame(1, "part", false));
  advance(milliseconds(29'999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  const auto frames = peer_->take();
  EXPECT_EQ(statusOf(frames, 1), kTimeoutStatus);
  EXPECT_TRUE(resetOf(frames, 1).has_value());
  EXPECT_EQ(server_->activeStreams(), 0u);
}

TEST_F(Http2LimitsTest, AnswersABodyThatTricklesWith408) {
  handshake();
  openUpload();
  for (int i = 0; i < 20; ++i) {
    send(dataFrame(1, std::string(1024, 'x'), false));
    advance(seconds(1));
  }
  EXPECT_FALSE(requests_[0]->end.has_value()) << "at the rate";
  for (int i = 0; i < 10; ++i) {
    send(dataFrame(1, std::string(1023, 'x'), false));
    advance(seconds(1));
  }
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  EXPECT_EQ(statusOf(peer_->take(), 1), kTimeoutStatus);
}

TEST_F(Http2LimitsTest, DoesNotBlameAClientThatWeHoldBack) {
  limits_.stream_window = 32 * 1024;
  consumes_ = false;
  handshake();
  openUpload();
  send(dataFrame(1, std::string(16384, 'x'), false) + dataFrame(1, std::string(16384, 'x'), false));
  advance(seconds(3600));
  ASSERT_FALSE(requests_[0]->end.has_value());
  requests_[0]->stream->consume(32 * 1024);
  advance(milliseconds(9'999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout) << "its turn has come and it sends nothing";
}

TEST_F(Http2LimitsTest, DoesNotBlameAClientThatWaitsForContinue) {
  handshake();
  openUpload({{"expect", "100-continue"}});
  advance(seconds(3600));
  ASSERT_FALSE(requests_[0]->end.has_value());
  requests_[0]->stream->sendContinue();
  advance(seconds(10));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
}

TEST_F(Http2LimitsTest, MeasuresAClientThatDoesNotWaitForContinueFromItsFirstByte) {
  handshake();
  openUpload({{"expect", "100-continue"}});
  advance(seconds(3600));
  send(dataFrame(1, "part", false));
  advance(milliseconds(9'999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
}

TEST_F(Http2LimitsTest, LeavesAConversationAloneOnceItIsAnswered) {
  handshake();
  openUpload();
  requests_[0]->stream->sendHead(ResponseHead(), false);
  advance(seconds(3600));
  EXPECT_FALSE(requests_[0]->end.has_value());
}

TEST_F(Http2LimitsTest, ResetsAResponseThatIsNotTaken) {
  handshake({{4, 10}});
  send(headersFrame(1, requestFields("GET", "/"), true));
  requests_[0]->answer(200, std::string(25, 'x'));
  settle();
  advance(milliseconds(29'999));
  send(windowFrame(1, 10));
  advance(milliseconds(29'999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  EXPECT_EQ(resetOf(peer_->take(), 1), kCancel);
}

TEST_F(Http2LimitsTest, ResetsAResponseWhoseLastBytesAreTakenOneByOne) {
  handshake({{4, 10}});
  send(headersFrame(1, requestFields("GET", "/"), true));
  requests_[0]->answer(200, std::string(4096, 'x'));
  settle();
  // Twice the write timeout, and a second for each KiB.
  for (int i = 0; i < 3; ++i) {
    advance(seconds(21));
    EXPECT_FALSE(requests_[0]->end.has_value());
    send(windowFrame(1, 1));
  }
  advance(milliseconds(999));
  EXPECT_FALSE(requests_[0]->end.has_value());
  advance(milliseconds(1));
  EXPECT_EQ(requests_[0]->end, StreamEnd::kTimeout);
  EXPECT_EQ(resetOf(peer_->take(), 1), kCancel);
}

TEST_F(Http2LimitsTest, LetsAResponseTakeItsTimeAtTheRate) {
  handshake({{4, 1024}});
  send(headersFrame(1, requestFields("GET", "/"), true));
  requests_[0]->answer(200, std::string(200 * 1024, 'x'));
  settle();
  for (int i = 0; i < 200; ++i) {
    advance(seconds(1));
    send(windowFrame(0, 1024) + windowFrame(1, 1024));
  }
  EXPECT_EQ(requests_[0]->end, StreamEnd::kComplete);
}

}  // namespace
}  // namespace penstock::http
