#pragma once

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

// A response as the codec told it.
struct SeenResponse final : ResponseHandler {
  void onInformational(ResponseHead the_head) override {
    informational.push_back(std::move(the_head));
  }
  void onResponseHead(ResponseHead the_head, bool end_stream) override {
    head = std::move(the_head);
    ended = end_stream;
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    ended = ended || end_stream;
    if (consumes) {
      stream->consume(data.size());
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
  }

  ClientStream* stream = nullptr;
  std::vector<ResponseHead> informational;
  std::optional<ResponseHead> head;
  std::string body;
  std::optional<Headers> trailers;
  std::optional<StreamEnd> end;
  bool ended = false;
  bool consumes = true;
  int send_ready = 0;
};

// A client connection on one end of a socket pair, frames by hand at the other, and time by hand.
class Http2ClientTest : public ::testing::Test, public ClientConnection::Owner {
 protected:
  ~Http2ClientTest() override {
    if (client_ != nullptr) {
      client_->close();
    }
  }

  void start(bool detect = false) {
    SocketPair pair = makeSocketPair();
    peer_ = std::make_unique<FramePeer>(std::move(pair.theirs));
    peer_->skipPreface();
    auto connection =
        std::make_unique<net::Connection>(loop_, std::move(pair.ours), net::Address::loopback(80),
                                          nullptr, net::Connection::Options{});
    net::Connection& started = *connection;
    client_ = makeHttp2ClientConnection(loop_, std::move(connection), detect, limits_, *this);
    started.start(*client_);
    settle();
  }
  void handshake(const std::vector<std::pair<std::uint16_t, std::uint32_t>>& settings = {}) {
    start();
    send(settingsFrame(settings) + makeFrame(kSettingsFrame, kAck, 0, ""));
    peer_->take();
  }
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

  static RequestHead request(std::string_view method = "GET", std::string_view path = "/") {
    RequestHead head;
    head.method = method;
    head.scheme = "http";
    head.authority = "model";
    head.path = path;
    return head;
  }
  SeenResponse& open() {
    EXPECT_TRUE(client_->canOpen());
    responses_.push_back(std::make_unique<SeenResponse>());
    responses_.back()->stream = &client_->newStream(*responses_.back());
    return *responses_.back();
  }
  SeenResponse& ask(bool end_stream = true) {
    SeenResponse& response = open();
    response.stream->sendHead(request(), end_stream);
    return response;
  }
  static void sendBody(SeenResponse& response, std::string_view text, bool end_stream) {
    net::Buffer data;
    data.append(text);
    response.stream->sendData(data, end_stream);
  }

  void onReady(ClientConnection&) override { ++ready_; }
  void onCapacity(ClientConnection&) override { ++capacity_; }
  void onDraining(ClientConnection&) override { ++draining_; }
  void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) override {
    EXPECT_EQ(&connection, client_.get());
    closed_ = reason;
    loop_.destroyLater(std::move(client_));
  }
  void onNotHttp2(ClientConnection&, NotHttp2 how) override {
    not_http2_ = how;
    loop_.destroyLater(std::move(client_));
  }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  std::unique_ptr<FramePeer> peer_;
  std::vector<std::unique_ptr<SeenResponse>> responses_;
  std::unique_ptr<ClientCodec> client_;
  int ready_ = 0;
  int capacity_ = 0;
  int draining_ = 0;
  std::optional<NotHttp2> not_http2_;
  std::optional<net::CloseReason> closed_;
};

}  // namespace penstock::http
