// Both sides of either version against each other, plain and under TLS: a WebSocket is asked for
// and accepted alike, and all bytes come through, however slowly either side takes them.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/http/client_connection.h"
#include "net/http/server_connection.h"
#include "tests/net/socket_pair.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/test_certificates.h"

namespace penstock::http {
namespace {

// Sends what it has whenever there is room, and ends with it if told to.
class Feed {
 public:
  void give(std::string text, bool end) {
    text_ = std::move(text);
    end_ = end;
  }
  void pump(Stream& stream) {
    while (!done_ && stream.unsentBytes() <= Stream::kDefaultHighWatermark) {
      net::Buffer data;
      const std::string_view next = std::string_view(text_).substr(at_, 100'000);
      data.append(next);
      at_ += next.size();
      done_ = at_ == text_.size();
      stream.sendData(data, done_ && end_);
    }
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
  bool end_ = false;
  bool done_ = false;
};

struct Server final : RequestHandler {
  explicit Server(ServerStream& the_stream) : stream(&the_stream) {}
  void onRequestHead(RequestHead the_head, bool end_stream) override {
    EXPECT_FALSE(end_stream);
    head = std::move(the_head);
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    unconsumed += data.size();
    ended = ended || end_stream;
  }
  void onTrailers(Headers) override { ADD_FAILURE(); }
  void onSendReady() override { feed.pump(*stream); }
  void onEnd(StreamEnd how) override {
    end = how;
    stream = nullptr;
  }

  ServerStream* stream;
  RequestHead head;
  std::string body;
  std::size_t unconsumed = 0;
  bool ended = false;
  Feed feed;
  std::optional<StreamEnd> end;
};

struct Client final : ResponseHandler {
  void onInformational(ResponseHead) override { ADD_FAILURE(); }
  void onResponseHead(ResponseHead the_head, bool) override { head = std::move(the_head); }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    unconsumed += data.size();
    ended = ended || end_stream;
  }
  void onTrailers(Headers) override { ADD_FAILURE(); }
  void onSendReady() override { feed.pump(*stream); }
  void onEnd(StreamEnd how) override {
    end = how;
    stream = nullptr;
  }

  ClientStream* stream = nullptr;
  std::optional<ResponseHead> head;
  std::string body;
  std::size_t unconsumed = 0;
  bool ended = false;
  Feed feed;
  std::optional<StreamEnd> end;
};

struct Wire {
  UpstreamProtocol protocol;
  bool tls;
};

class WebSocketEndToEnd : public ::testing::TestWithParam<Wire>,
                          public ServerConnection::Owner,
                          public ClientConnection::Owner {
 protected:
  static void SetUpTestSuite() { certificates_ = new TestCertificates(); }
  static void TearDownTestSuite() { delete std::exchange(certificates_, nullptr); }

  void SetUp() override {
    if (GetParam().tls) {
      useTls();
    }
    server_ = ServerConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(sockets_.near), address_,
                                          server_tls_.get(), net::Connection::Options{}),
        limits_, *this);
    client_ = ClientConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(sockets_.far), address_,
                                          client_tls_.get(), net::Connection::Options{}),
        GetParam().protocol, limits_, *this);
    ASSERT_TRUE(turnUntil([this] { return client_->canOpen(); }));
  }
  void TearDown() override {
    if (client_ != nullptr) {
      client_->close();
    }
    if (server_ != nullptr) {
      server_->close();
    }
  }
  void useTls() {
    server_tls_ = net::TlsContext::server({.certificate_file = certificates_->file("server.crt"),
                                           .private_key_file = certificates_->file("server.key"),
                                           .client_ca_file = ""},
                                          clock_)
                      .value();
    const bool h2 = GetParam().protocol != UpstreamProtocol::kHttp1;
    client_tls_ = net::TlsContext::client({.ca_file = certificates_->file("ca.crt"),
                                           .server_name = "localhost",
                                           .offer_h2 = h2,
                                           .offer_http1 = !h2})
                      .value();
  }
  bool turnUntil(const std::function<bool()>& done) { return net::turnUntil(loop_, done); }

  // Asks for one and has it accepted.
  void open() {
    ASSERT_TRUE(client_->takesWebSockets());
    asked_.stream = &client_->newStream(asked_);
    RequestHead head;
    head.method = "CONNECT";
    head.protocol = "websocket";
    head.scheme = GetParam().tls ? "https" : "http";
    head.authority = "localhost";
    head.path = "/chat?room=1";
    head.headers.add("sec-websocket-protocol", "chat");
    asked_.stream->sendHead(head, false);
    ASSERT_TRUE(turnUntil([this] { return seen_ != nullptr && seen_->head.isWebSocket(); }));
    EXPECT_EQ(seen_->head.path, head.path);
    EXPECT_EQ(seen_->head.scheme, head.scheme);
    EXPECT_EQ(seen_->head.headers.size(), 1U);
    seen_->stream->sendHead({}, false);
    ASSERT_TRUE(turnUntil([this] { return asked_.head.has_value(); }));
    EXPECT_EQ(asked_.head->status, 200);
  }
  void takeWhatCame() {
    if (seen_->stream != nullptr) {
      seen_->stream->consume(std::exchange(seen_->unconsumed, 0));
    }
    if (asked_.stream != nullptr) {
      asked_.stream->consume(std::exchange(asked_.unconsumed, 0));
    }
  }

  RequestHandler* onStream(ServerStream& stream) override {
    seen_ = std::make_unique<Server>(stream);
    return seen_.get();
  }
  ResponseHead rejectRequest(ServerConnection::Rejection, std::string_view detail,
                             std::string&) override {
    ADD_FAILURE() << detail;
    return {};
  }
  void onConnectionClosed(ServerConnection&) override { loop_.destroyLater(std::move(server_)); }
  void onReady(ClientConnection&) override {}
  void onCapacity(ClientConnection&) override {}
  void onDraining(ClientConnection&) override {}
  void onConnectionClosed(ClientConnection&, net::CloseReason) override {
    loop_.destroyLater(std::move(client_));
  }
  void onNotHttp2(ClientConnection&, NotHttp2) override { ADD_FAILURE(); }

  inline static TestCertificates* certificates_ = nullptr;
  ManualClock clock_;
  net::EventLoop loop_{clock_};
  const net::Address address_ = net::Address::loopback(1);
  net::SocketPair sockets_;
  Limits limits_;
  std::unique_ptr<net::TlsContext> server_tls_;
  std::unique_ptr<net::TlsContext> client_tls_;
  Client asked_;
  std::unique_ptr<Server> seen_;
  std::unique_ptr<ServerConnection> server_;
  std::unique_ptr<ClientConnection> client_;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>((i * 7919) >> 5);
  }
  return text;
}

TEST_P(WebSocketEndToEnd, CarriesEveryByteBothWaysUntilBothSidesEnd) {
  open();
  const std::string up = pattern(5 << 20);
  const std::string down = pattern(7 << 20);
  asked_.feed.give(up, true);
  seen_->feed.give(down, false);
  asked_.feed.pump(*asked_.stream);
  seen_->feed.pump(*seen_->stream);
  std::size_t most = 0;
  ASSERT_TRUE(turnUntil([&] {
    most = std::max({most, seen_->unconsumed, asked_.unconsumed});
    takeWhatCame();
    return seen_->ended && asked_.body.size() == down.size();
  }));
  EXPECT_TRUE(seen_->body == up);
  EXPECT_TRUE(asked_.body == down);
  EXPECT_LT(most, 2U << 20);
  EXPECT_FALSE(asked_.end.has_value());
  net::Buffer last;
  last.append(std::string_view("bye"));
  seen_->stream->sendData(last, true);
  ASSERT_TRUE(turnUntil([&] { return asked_.end.has_value() && seen_->end.has_value(); }));
  EXPECT_TRUE(asked_.body.ends_with("bye"));
  EXPECT_TRUE(asked_.ended);
  EXPECT_EQ(asked_.end, StreamEnd::kComplete);
  EXPECT_EQ(seen_->end, StreamEnd::kComplete);
}

TEST_P(WebSocketEndToEnd, HoldsTheSenderBackWhileNobodyTakes) {
  open();
  const std::string down = pattern(24 << 20);
  seen_->feed.give(down, true);
  seen_->feed.pump(*seen_->stream);
  // Stands still when nothing has come for many turns.
  std::size_t before = 0;
  int still = 0;
  ASSERT_TRUE(turnUntil([&] {
    still = std::exchange(before, asked_.body.size()) == asked_.body.size() ? still + 1 : 0;
    return still > 20;
  }));
  EXPECT_LT(asked_.body.size(), 2U << 20);
  EXPECT_GT(seen_->stream->unsentBytes(), 0U);
  ASSERT_TRUE(turnUntil([&] {
    takeWhatCame();
    return asked_.ended;
  }));
  EXPECT_TRUE(asked_.body == down);
}

TEST_P(WebSocketEndToEnd, TellsTheServerThatTheClientHasReset) {
  open();
  std::exchange(asked_.stream, nullptr)->reset(ResetReason::kCancel);
  ASSERT_TRUE(turnUntil([this] { return seen_->end.has_value() || seen_->ended; }));
  if (seen_->stream != nullptr) {
    net::Buffer nothing;
    seen_->stream->sendData(nothing, true);
    ASSERT_TRUE(turnUntil([this] { return seen_->end.has_value(); }));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Wires, WebSocketEndToEnd,
    ::testing::Values(Wire{UpstreamProtocol::kHttp1, false}, Wire{UpstreamProtocol::kHttp1, true},
                      Wire{UpstreamProtocol::kHttp2, false}, Wire{UpstreamProtocol::kAuto, true}),
    [](const auto& named) {
      return std::string(named.param.protocol == UpstreamProtocol::kHttp1 ? "Http1" : "Http2") +
             (named.param.tls ? "Tls" : "Plain");
    });

}  // namespace
}  // namespace penstock::http
