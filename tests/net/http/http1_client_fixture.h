#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/http/client_connection.h"
#include "tests/net/http/plain_peer.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {

// A response as the codec told it.
struct HeardResponse final : ResponseHandler {
  void onInformational(ResponseHead the_head) override { informational.push_back(the_head.status); }
  void onResponseHead(ResponseHead the_head, bool end_stream) override {
    EXPECT_FALSE(head.has_value());
    head = std::move(the_head);
    ended = end_stream;
    if (resets) {
      stream->reset(ResetReason::kCancel);
    }
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    EXPECT_FALSE(ended);
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    ended = end_stream;
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
  void send(std::string_view text, bool end_stream) {
    net::Buffer data;
    data.append(text);
    stream->sendData(data, end_stream);
  }

  ClientStream* stream = nullptr;
  std::vector<int> informational;
  std::optional<ResponseHead> head;
  std::string body;
  Headers trailers;
  std::optional<StreamEnd> end;
  bool ended = false;
  bool consumes = true;
  bool resets = false;
  int send_ready = 0;
};

// A client connection on one end of a socket pair, bytes by hand at the other, and time by hand.
class Http1ClientTest : public ::testing::Test, public ClientConnection::Owner {
 protected:
  Http1ClientTest() {
    auto [peer, near] = PlainPeer::make();
    peer_.emplace(std::move(peer));
    fd_ = std::move(near);
  }
  ~Http1ClientTest() override {
    if (client_ != nullptr) {
      client_->close();
    }
  }

  void start() {
    client_ = ClientConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(fd_), net::Address::loopback(81),
                                          nullptr, net::Connection::Options{}),
        UpstreamProtocol::kHttp1, limits_, *this);
  }
  void settle() {
    for (int quiet = 0; quiet < 3; ++quiet) {
      net::runTurn(loop_);
      if (peer_->poll()) {
        quiet = 0;
      }
    }
  }
  static RequestHead get(std::string_view path = "/", std::string_view method = "GET") {
    RequestHead head;
    head.method = method;
    head.scheme = "http";
    head.authority = "a";
    head.path = path;
    return head;
  }
  HeardResponse& open() {
    if (client_ == nullptr) {
      start();
    }
    EXPECT_TRUE(client_->canOpen());
    responses_.push_back(std::make_unique<HeardResponse>());
    responses_.back()->stream = &client_->newStream(*responses_.back());
    return *responses_.back();
  }
  // Sends a request without a body and has these bytes answer it.
  HeardResponse& ask(std::string_view answer, RequestHead head = get()) {
    HeardResponse& response = open();
    response.stream->sendHead(head, true);
    settle();
    peer_->send(answer);
    settle();
    return response;
  }

  void onReady(ClientConnection&) override { ready_ = true; }
  void onCapacity(ClientConnection& connection) override {
    ++capacity_;
    EXPECT_TRUE(connection.canOpen());
  }
  void onDraining(ClientConnection&) override { ++draining_; }
  void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) override {
    EXPECT_EQ(&connection, client_.get());
    closed_ = reason;
    loop_.destroyLater(std::move(client_));
  }
  void onNotHttp2(ClientConnection&, NotHttp2) override { ADD_FAILURE(); }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  std::optional<PlainPeer> peer_;
  net::UniqueFd fd_;
  std::vector<std::unique_ptr<HeardResponse>> responses_;
  bool ready_ = false;
  int capacity_ = 0;
  int draining_ = 0;
  std::optional<net::CloseReason> closed_;
  std::unique_ptr<ClientConnection> client_;
};

}  // namespace penstock::http
