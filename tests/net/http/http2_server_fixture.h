#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/http2_connections.h"
#include "tests/net/http/http2_frames.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {

// A request as the codec told it.
struct SeenRequest final : RequestHandler {
  void onRequestHead(RequestHead the_head, bool end_stream) override {
    head = std::move(the_head);
    ended = end_stream;
    if (on_head) {
      on_head(*this);
    }
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    ended = ended || end_stream;
    if (consumes) {
      stream->consume(data.size());
    }
    if (on_data) {
      on_data(*this);
    }
  }
  void onTrailers(Headers the_trailers) override {
    trailers = std::move(the_trailers);
    ended = true;
  }
  void onSendReady() override { ++send_ready; }
  void onEnd(StreamEnd how) override {
    EXPECT_FALSE(end.has_value()) << "onEnd comes once";
    end = how;
    stream = nullptr;
    if (on_end) {
      on_end(*this);
    }
  }

  void answer(int status, std::string_view text = {}, Headers headers = {}) {
    ResponseHead response;
    response.status = status;
    response.headers = std::move(headers);
    stream->sendHead(response, text.empty());
    if (!text.empty()) {
      sendBody(text, true);
    }
  }
  void sendBody(std::string_view text, bool end_stream) {
    net::Buffer data;
    data.append(text);
    stream->sendData(data, end_stream);
    EXPECT_TRUE(data.empty());
  }

  ServerStream* stream = nullptr;
  RequestHead head;
  std::string body;
  std::optional<Headers> trailers;
  std::optional<StreamEnd> end;
  bool ended = false;
  bool consumes = true;
  int send_ready = 0;
  std::function<void(SeenRequest&)> on_head;
  std::function<void(SeenRequest&)> on_data;
  std::function<void(SeenRequest&)> on_end;
};

// A server connection on one end of a socket pair, frames by hand at the other, and time by hand.
class Http2ServerTest : public ::testing::Test, public ServerConnection::Owner {
 protected:
  Http2ServerTest() { makePair(); }
  ~Http2ServerTest() override {
    if (server_ != nullptr) {
      server_->close();
    }
  }

  void makePair() {
    SocketPair pair = makeSocketPair();
    peer_ = std::make_unique<FramePeer>(std::move(pair.theirs));
    server_fd_ = std::move(pair.ours);
  }

  // Makes the codec, with the limits as the test has set them.
  void start() {
    auto connection =
        std::make_unique<net::Connection>(loop_, std::move(server_fd_), net::Address::loopback(1),
                                          nullptr, net::Connection::Options{});
    net::Connection& started = *connection;
    server_ = makeHttp2ServerConnection(loop_, std::move(connection), limits_, *this);
    started.start(*server_);
    settle();
  }
  // Exchanges SETTINGS and forgets the frames of it.
  void handshake(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings = {}) {
    start();
    peer_->send(std::string(kPreface) + settingsFrame(settings) +
                makeFrame(kSettingsFrame, kAck, 0, ""));
    settle();
    peer_->take();
  }
  // Turns until neither side has anything more to do.
  void settle() {
    for (int quiet = 0; quiet < 3; ++quiet) {
      net::runTurn(loop_);
      if (peer_->poll()) {
        quiet = 0;
      }
    }
  }
  void send(std::string_view bytes) {
    peer_->send(bytes);
    settle();
  }
  void advance(Duration by) {
    clock_.advance(by);
    settle();
  }

  // The :status of a response on that stream among frames, 0 if none.
  int statusOf(const std::vector<Frame>& frames, std::int32_t stream) {
    int status = 0;
    for (const Frame& frame : frames) {
      if (frame.type == kHeadersFrame) {
        for (const auto& [name, value] : peer_->decode(frame)) {
          if (frame.stream == stream && name == ":status") {
            status = std::stoi(value);
          }
        }
      }
    }
    return status;
  }
  static std::optional<std::uint32_t> resetOf(const std::vector<Frame>& frames,
                                              std::int32_t stream) {
    for (const Frame& frame : frames) {
      if (frame.type == kResetFrame && frame.stream == stream) {
        return wordAt(frame, 0);
      }
    }
    return std::nullopt;
  }
  static std::string bodyOf(const std::vector<Frame>& frames, std::int32_t stream) {
    std::string body;
    for (const Frame& frame : frames) {
      if (frame.type == kDataFrame && frame.stream == stream) {
        body += frame.payload;
      }
    }
    return body;
  }
  static std::size_t count(const std::vector<Frame>& frames, std::uint8_t type) {
    return static_cast<std::size_t>(std::count_if(
        frames.begin(), frames.end(), [type](const Frame& frame) { return frame.type == type; }));
  }

  RequestHandler* onStream(ServerStream& stream) override {
    if (refuse_streams_) {
      return nullptr;
    }
    requests_.push_back(std::make_unique<SeenRequest>());
    requests_.back()->stream = &stream;
    requests_.back()->on_head = on_head_;
    requests_.back()->on_end = on_end_;
    requests_.back()->consumes = consumes_;
    return requests_.back().get();
  }
  ResponseHead rejectRequest(ServerConnection::Rejection why, std::string_view detail,
                             std::string& body) override {
    rejections_.push_back(why);
    body = "rejected: " + std::string(detail);
    ResponseHead head;
    head.status = 400 + static_cast<int>(why);
    head.content_length = body.size();
    return head;
  }
  void onConnectionClosed(ServerConnection& connection) override {
    EXPECT_EQ(&connection, server_.get());
    closed_ = true;
    loop_.destroyLater(std::move(server_));
  }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  net::UniqueFd server_fd_;
  std::unique_ptr<FramePeer> peer_;
  std::vector<std::unique_ptr<SeenRequest>> requests_;
  std::vector<ServerConnection::Rejection> rejections_;
  std::unique_ptr<ServerCodec> server_;
  std::function<void(SeenRequest&)> on_head_;
  std::function<void(SeenRequest&)> on_end_;
  bool refuse_streams_ = false;
  bool consumes_ = true;
  bool closed_ = false;
};

}  // namespace penstock::http
