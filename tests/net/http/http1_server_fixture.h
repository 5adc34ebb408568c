#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "tests/net/http/plain_peer.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {

// A request as the codec told it, and an answer to it.
struct HeardRequest final : RequestHandler {
  explicit HeardRequest(ServerStream& the_stream) : stream(&the_stream) {}

  void onRequestHead(RequestHead the_head, bool end_stream) override {
    head = std::move(the_head);
    ended = end_stream;
    if (on_head) {
      on_head(*this);
    }
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    EXPECT_FALSE(ended);
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    ended = end_stream;
    if (consumes) {
      stream->consume(data.size());
    }
    if (on_data) {
      on_data(*this);
    }
  }
  void onTrailers(Headers the_trailers) override {
    EXPECT_FALSE(ended);
    trailers = std::move(the_trailers);
    ended = true;
  }
  void onSendReady() override { ++send_ready; }
  void onEnd(StreamEnd how) override {
    EXPECT_FALSE(end.has_value()) << "onEnd comes once";
    end = how;
    stream = nullptr;
  }

  // With a declared length.
  void answer(int status, std::string_view text) {
    ResponseHead response;
    response.status = status;
    response.content_length = text.size();
    stream->sendHead(response, false);
    send(text, true);
  }
  void sendHead(int status, bool end_stream) {
    ResponseHead response;
    response.status = status;
    stream->sendHead(response, end_stream);
  }
  void send(std::string_view text, bool end_stream) {
    net::Buffer data;
    data.append(text);
    stream->sendData(data, end_stream);
    EXPECT_TRUE(data.empty());
  }

  ServerStream* stream;
  RequestHead head;
  std::string body;
  Headers trailers;
  std::optional<StreamEnd> end;
  bool ended = false;
  bool consumes = true;
  int send_ready = 0;
  std::function<void(HeardRequest&)> on_head;
  std::function<void(HeardRequest&)> on_data;
};

inline int statusOf(ServerConnection::Rejection why) {
  switch (why) {
    case Rejection::kBadRequest:
    case Rejection::kWebSocketVersion:
      return 400;
    case Rejection::kMethodNotAllowed:
      return 405;
    case Rejection::kRequestTimeout:
      return 408;
    case Rejection::kUriTooLong:
      return 414;
    case Rejection::kMisdirected:
      return 421;
    case Rejection::kHeadersTooLarge:
      return 431;
    case Rejection::kVersionNotSupported:
      return 505;
    case Rejection::kNotImplemented:
      return 501;
  }
  return 500;
}

// A server connection on one end of a socket pair, a client by hand at the other, and time by hand.
class ServerConnectionTest : public ::testing::Test, public ServerConnection::Owner {
 protected:
  ~ServerConnectionTest() override {
    if (server_ != nullptr) {
      server_->close();
    }
  }

  void start() {
    auto [peer, near] = PlainPeer::make();
    peer_.emplace(std::move(peer));
    closed_ = false;
    server_ = ServerConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(near), net::Address::loopback(1),
                                          nullptr, net::Connection::Options{}),
        limits_, *this);
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
  // What the server answers to these bytes.
  std::string exchange(std::string_view bytes) {
    if (!peer_.has_value()) {
      start();
    }
    peer_->send(bytes);
    settle();
    return peer_->take();
  }
  void advance(Duration by) {
    clock_.advance(by);
    settle();
  }
  HeardRequest& request(std::size_t i) { return *requests_.at(i); }
  HeardRequest& last() { return *requests_.back(); }

  RequestHandler* onStream(ServerStream& stream) override {
    requests_.push_back(std::make_unique<HeardRequest>(stream));
    last().on_head = on_head_;
    last().on_data = on_data_;
    last().consumes = consumes_;
    return &last();
  }
  ResponseHead rejectRequest(ServerConnection::Rejection why, std::string_view,
                             std::string& body) override {
    ResponseHead head;
    head.status = statusOf(why);
    body = "no";
    return head;
  }
  void onConnectionClosed(ServerConnection& connection) override {
    EXPECT_EQ(&connection, server_.get());
    for (const auto& heard : requests_) {
      EXPECT_TRUE(heard->end.has_value() || heard->stream == nullptr);
    }
    closed_ = true;
    loop_.destroyLater(std::move(server_));
  }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  std::optional<PlainPeer> peer_;
  std::vector<std::unique_ptr<HeardRequest>> requests_;
  std::function<void(HeardRequest&)> on_head_;
  std::function<void(HeardRequest&)> on_data_;
  bool consumes_ = true;
  bool closed_ = false;
  std::unique_ptr<ServerConnection> server_;
};

}  // namespace penstock::http
