// Flow control: who is held back by what.

#include <algorithm>
#include <map>
#include <string>

#include "tests/net/http/http2_server_fixture.h"

namespace penstock::http {
namespace {

constexpr std::uint32_t kCancel = 8;
constexpr std::uint16_t kInitialWindow = 4;

class Http2WindowsTest : public Http2ServerTest {
 protected:
  Http2WindowsTest() {
    limits_.stream_window = 64 * 1024;
    limits_.connection_window = 256 * 1024;
  }
  // A client that keeps to its windows: sends as much of size as they allow, returns how much.
  std::size_t upload(std::int32_t stream, std::size_t size) {
    std::size_t sent = 0;
    for (;;) {
      takeWindows();
      const std::size_t chunk =
          std::min({size - sent, std::size_t{16384}, connection_credit_, stream_credit_[stream]});
      if (chunk == 0) {
        return sent;
      }
      send(dataFrame(stream, std::string(chunk, 'x'), false));
      sent += chunk;
      connection_credit_ -= chunk;
      stream_credit_[stream] -= chunk;
    }
  }
  void open(std::int32_t stream) {
    stream_credit_[stream] = limits_.stream_window;
    send(headersFrame(stream, requestFields("POST", "/"), false));
  }
  void takeWindows() {
    for (const Frame& frame : peer_->take()) {
      if (frame.type == kWindowFrame) {
        (frame.stream == 0 ? connection_credit_ : stream_credit_[frame.stream]) += wordAt(frame, 0);
      }
    }
  }
  void startCounting() {
    start();
    connection_credit_ = 65535;
    peer_->send(std::string(kPreface) + settingsFrame({}) + makeFrame(kSettingsFrame, kAck, 0, ""));
    settle();
    takeWindows();
    EXPECT_EQ(connection_credit_, limits_.connection_window);
  }

  std::size_t connection_credit_ = 0;
  std::map<std::int32_t, std::size_t> stream_credit_;
};

TEST_F(Http2WindowsTest, HoldsBackAStreamWhoseBodyIsNotConsumed) {
  consumes_ = false;
  startCounting();
  open(1);
  EXPECT_EQ(upload(1, 1 << 20), limits_.stream_window);
  EXPECT_EQ(requests_[0]->body.size(), limits_.stream_window);
  requests_[0]->stream->consume(limits_.stream_window);
  settle();
  EXPECT_EQ(upload(1, 1 << 20), limits_.stream_window);
}

TEST_F(Http2WindowsTest, QueuedUploadsDoNotStallAnAdmittedOne) {
  consumes_ = false;
  startCounting();
  // More bodies than the connection window has room for, none of them consumed.
  for (std::int32_t stream = 1; stream < 41; stream += 2) {
    open(stream);
    ASSERT_EQ(upload(stream, 1 << 20), limits_.stream_window);
  }
  consumes_ = true;
  open(41);
  EXPECT_EQ(upload(41, 1 << 20), std::size_t{1} << 20);
}

TEST_F(Http2WindowsTest, ResetStreamsDoNotLeakConnectionWindow) {
  consumes_ = false;
  startCounting();
  for (std::int32_t stream = 1; stream < 101; stream += 2) {
    open(stream);
    ASSERT_EQ(upload(stream, 1 << 20), limits_.stream_window) << "stream " << stream;
    if (stream % 4 == 1) {
      requests_.back()->stream->reset(ResetReason::kCancel);
      // What the client had sent before it saw the reset.
      peer_->send(dataFrame(stream, "late", true));
      connection_credit_ -= 4;
      settle();
    } else {
      send(resetFrame(stream, kCancel));
    }
  }
  consumes_ = true;
  open(101);
  EXPECT_EQ(upload(101, 1 << 20), std::size_t{1} << 20);
}

TEST_F(Http2WindowsTest, PaddingAndRejectedBodiesDoNotLeakConnectionWindow) {
  limits_.frames.burst = 0;
  startCounting();
  for (std::int32_t stream = 1; stream < 101; stream += 2) {
    send(headersFrame(stream, requestFields("POST", "/a#b"), false));
    takeWindows();
    ASSERT_GE(connection_credit_, limits_.connection_window / 4);
    // Padded: 200 bytes of 201 are padding and its length.
    std::string padded(1, static_cast<char>(199));
    padded += "x" + std::string(199, '\0');
    for (int i = 0; i < 50; ++i) {
      peer_->send(makeFrame(kDataFrame, 8, stream, padded));
      connection_credit_ -= padded.size();
    }
    settle();
  }
  open(101);
  EXPECT_EQ(upload(101, 1 << 20), std::size_t{1} << 20);
}

TEST_F(Http2WindowsTest, PullsTheBodyAsWindowsAllowAndTellsWhenThereIsRoom) {
  handshake({{kInitialWindow, 100'000}});
  send(headersFrame(1, requestFields("GET", "/"), true));
  SeenRequest& request = *requests_[0];
  request.stream->sendHead(ResponseHead(), false);
  request.sendBody(std::string(400'000, 'z'), false);
  settle();
  // The connection window of 65535 is what holds it back.
  EXPECT_EQ(request.stream->unsentBytes(), 400'000u - 65'535u);
  EXPECT_EQ(request.send_ready, 0);
  send(windowFrame(0, 1 << 20));
  EXPECT_EQ(request.stream->unsentBytes(), 300'000u);
  EXPECT_EQ(request.send_ready, 0);
  send(windowFrame(1, 300'000 - 128 * 1024 - 1));
  EXPECT_EQ(request.send_ready, 0) << "one byte above the low watermark";
  send(windowFrame(1, 1));
  EXPECT_EQ(request.send_ready, 1);
  EXPECT_EQ(request.stream->unsentBytes(), 128u * 1024u);
  request.sendBody("", true);
  send(windowFrame(1, 200'000));
  EXPECT_EQ(request.send_ready, 1);
  EXPECT_EQ(request.end, StreamEnd::kComplete);
  EXPECT_EQ(bodyOf(peer_->take(), 1).size(), 400'000u);
}

TEST_F(Http2WindowsTest, KeepsTheRestOfALargeBodyWhereAResetCanTakeItBack) {
  handshake({{kInitialWindow, 0x7fffffff}});
  send(windowFrame(0, 0x7fffffff - 65535) + headersFrame(1, requestFields("GET", "/"), true));
  requests_[0]->stream->sendHead(ResponseHead(), false);
  requests_[0]->sendBody(std::string(64 << 20, 'z'), true);
  net::runTurn(loop_);
  net::runTurn(loop_);
  ASSERT_FALSE(requests_[0]->end.has_value());
  // Nobody reads: the socket is full, and no more than a write's worth waits behind it.
  const std::size_t unsent = requests_[0]->stream->unsentBytes();
  EXPECT_GT(unsent, std::size_t{60} << 20);
  requests_[0]->stream->reset(ResetReason::kCancel);
  settle();
  const auto frames = peer_->take();
  EXPECT_LE(bodyOf(frames, 1).size(), (std::size_t{64} << 20) - unsent);
  EXPECT_EQ(resetOf(frames, 1), kCancel);
}

}  // namespace
}  // namespace penstock::http
