// Both sides of HTTP/1 against each other, and the choice of protocol between two of our own: the
// bodies come through whole, and both sides agree on what they speak.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

// Answers with what it is sent, as it comes.
struct Echo final : RequestHandler {
  explicit Echo(ServerStream& the_stream) : stream(&the_stream) {}
  void onRequestHead(RequestHead head, bool end_stream) override {
    ResponseHead response;
    response.headers.add("x-scheme", head.scheme);
    response.headers.add("x-authority", head.authority);
    stream->sendHead(response, end_stream);
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    net::Buffer copy;
    copy.append(data);
    stream->sendData(copy, end_stream);
    if (stream->unsentBytes() > Stream::kDefaultHighWatermark) {
      withheld += data.size();
    } else if (!end_stream) {
      stream->consume(data.size());
    }
  }
  void onTrailers(Headers trailers) override { stream->sendTrailers(trailers); }
  void onSendReady() override { stream->consume(std::exchange(withheld, 0)); }
  void onEnd(StreamEnd how) override { end = how; }

  ServerStream* stream;
  std::size_t withheld = 0;
  std::optional<StreamEnd> end;
};

struct Answer final : ResponseHandler {
  void onInformational(ResponseHead) override {}
  void onResponseHead(ResponseHead the_head, bool) override { head = std::move(the_head); }
  void onData(std::span<const std::uint8_t> data, bool) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    stream->consume(data.size());
  }
  void onTrailers(Headers the_trailers) override { trailers = std::move(the_trailers); }
  void onSendReady() override {}
  void onEnd(StreamEnd how) override { end = how; }

  ClientStream* stream = nullptr;
  ResponseHead head;
  std::string body;
  Headers trailers;
  std::optional<StreamEnd> end;
};

class Http1EndToEnd : public ::testing::Test,
                      public ServerConnection::Owner,
                      public ClientConnection::Owner {
 protected:
  static void SetUpTestSuite() { certificates_ = new TestCertificates(); }
  static void TearDownTestSuite() { delete std::exchange(certificates_, nullptr); }
  ~Http1EndToEnd() override {
    if (client_ != nullptr) {
      client_->close();
    }
    if (server_ != nullptr) {
      server_->close();
    }
  }

  void useTls(bool offer_h2) {
    server_tls_ = net::TlsContext::server({.certificate_file = certificates_->file("server.crt"),
                                           .private_key_file = certificates_->file("server.key"),
                                           .client_ca_file = ""},
                                          clock_)
                      .value();
    client_tls_ = net::TlsContext::client({.ca_file = certificates_->file("ca.crt"),
                                           .server_name = "localhost",
                                           .offer_h2 = offer_h2,
                                           .offer_http1 = true})
                      .value();
  }
  void start(UpstreamProtocol protocol) {
    server_ = ServerConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(sockets_.near), address_,
                                          server_tls_.get(), net::Connection::Options{}),
        limits_, *this);
    client_ = ClientConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(sockets_.far), address_,
                                          client_tls_.get(), net::Connection::Options{}),
        protocol, limits_, *this);
    ASSERT_TRUE(net::turnUntil(loop_, [this] { return client_->canOpen(); }));
  }
  // Posts body and gives what comes back.
  Answer echo(const std::string& body, const Headers& trailers = {}) {
    Answer answer;
    answer.stream = &client_->newStream(answer);
    RequestHead head;
    head.method = "POST";
    head.scheme = client_->connection().isTls() ? "https" : "http";
    head.authority = "localhost";
    head.path = "/echo";
    answer.stream->sendHead(head, false);
    net::Buffer data;
    data.append(body);
    answer.stream->sendData(data, trailers.empty());
    if (!trailers.empty()) {
      answer.stream->sendTrailers(trailers);
    }
    EXPECT_TRUE(net::turnUntil(loop_, [&] { return answer.end.has_value(); }));
    EXPECT_EQ(answer.end, StreamEnd::kComplete);
    return answer;
  }

  RequestHandler* onStream(ServerStream& stream) override {
    echoes_.push_back(std::make_unique<Echo>(stream));
    return echoes_.back().get();
  }
  ResponseHead rejectRequest(ServerConnection::Rejection, std::string_view detail,
                             std::string&) override {
    ADD_FAILURE() << detail;
    return {};
  }
  void onConnectionClosed(ServerConnection& connection) override {
    EXPECT_EQ(&connection, server_.get());
    loop_.destroyLater(std::move(server_));
  }
  void onReady(ClientConnection&) override {}
  void onCapacity(ClientConnection&) override {}
  void onDraining(ClientConnection&) override {}
  void onConnectionClosed(ClientConnection& connection, net::CloseReason) override {
    EXPECT_EQ(&connection, client_.get());
    loop_.destroyLater(std::move(client_));
  }
  void onNotHttp2(ClientConnection&, NotHttp2) override {
    ADD_FAILURE() << "the server speaks HTTP/2";
  }

  inline static TestCertificates* certificates_ = nullptr;
  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  net::SocketPair sockets_;
  net::Address address_ = net::Address::loopback(443);
  std::unique_ptr<net::TlsContext> server_tls_;
  std::unique_ptr<net::TlsContext> client_tls_;
  std::vector<std::unique_ptr<Echo>> echoes_;
  std::unique_ptr<ServerConnection> server_;
  std::unique_ptr<ClientConnection> client_;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>(i * 31 + i / 251);
  }
  return text;
}

TEST_F(Http1EndToEnd, BringsBodiesOfAllSizesThroughWhole) {
  start(UpstreamProtocol::kHttp1);
  for (const std::size_t size : {1U, 4096U, 65536U, 262144U, 5U << 20}) {
    const std::string body = pattern(size);
    EXPECT_TRUE(echo(body).body == body) << size;
  }
  EXPECT_EQ(server_->protocol(), Protocol::kHttp11);
  EXPECT_EQ(echoes_.size(), 5U);
}

TEST_F(Http1EndToEnd, BringsTrailersThrough) {
  start(UpstreamProtocol::kHttp1);
  Headers trailers;
  trailers.add("x-sum", "7");
  const Answer answer = echo("abc", trailers);
  EXPECT_EQ(answer.body, "abc");
  EXPECT_EQ(answer.trailers.get("x-sum"), "7");
  EXPECT_EQ(answer.head.headers.get("x-scheme"), "http");
  EXPECT_EQ(answer.head.headers.get("x-authority"), "localhost");
}

TEST_F(Http1EndToEnd, SpeaksHttp2OnItsOwnWhenPlain) {
  start(UpstreamProtocol::kAuto);
  EXPECT_EQ(echo("abc").body, "abc");
  EXPECT_EQ(client_->protocol(), Protocol::kHttp2);
  EXPECT_EQ(server_->protocol(), Protocol::kHttp2);
}

TEST_F(Http1EndToEnd, SpeaksWhatAlpnSays) {
  useTls(true);
  start(UpstreamProtocol::kAuto);
  const std::string body = pattern(1U << 20);
  EXPECT_TRUE(echo(body).body == body);
  EXPECT_EQ(client_->protocol(), Protocol::kHttp2);
  EXPECT_EQ(server_->protocol(), Protocol::kHttp2);
}

TEST_F(Http1EndToEnd, SpeaksHttp1WhereAlpnOffersNothingElse) {
  useTls(false);
  start(UpstreamProtocol::kAuto);
  const std::string body = pattern(1U << 20);
  const Answer answer = echo(body);
  EXPECT_TRUE(answer.body == body);
  EXPECT_EQ(answer.head.headers.get("x-scheme"), "https");
  EXPECT_EQ(client_->protocol(), Protocol::kHttp11);
  EXPECT_EQ(server_->protocol(), Protocol::kHttp11);
  EXPECT_EQ(echo("again").body, "again");
}

}  // namespace
}  // namespace penstock::http
