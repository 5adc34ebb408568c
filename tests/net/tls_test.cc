#include "net/tls.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "net/connection.h"
#include "tests/net/recording_handler.h"
#include "tests/net/socket_pair.h"
#include "tests/support/allocated_bytes.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/test_certificates.h"

namespace penstock::net {
namespace {

using std::chrono::seconds;

// A client and a server Connection on the two ends of one TCP connection.
class TlsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { certificates_ = new TestCertificates(); }
  static void TearDownTestSuite() { delete std::exchange(certificates_, nullptr); }
  static std::string file(const std::string& name) { return certificates_->file(name); }

  void makeServer(const std::string& client_ca = "") {
    server_context_ = TlsContext::server({.certificate_file = file("server.crt"),
                                          .private_key_file = file("server.key"),
                                          .client_ca_file = client_ca},
                                         clock_)
                          .value();
  }
  TlsContext::ClientOptions clientOptions() const {
    return {.ca_file = file("ca.crt"), .server_name = "localhost"};
  }
  void makeClient(const TlsContext::ClientOptions& options) {
    client_context_ = TlsContext::client(options).value();
  }
  void start() {
    server_ = std::make_unique<Connection>(loop_, std::move(sockets_.near), address_,
                                           server_context_.get(), Connection::Options{});
    server_->start(server_handler_);
    startClient();
  }
  // The far end becomes a client Connection too; connect() is not needed on a connected socket.
  void startClient() {
    client_ = std::make_unique<Connection>(loop_, std::move(sockets_.far), address_,
                                           client_context_.get(), Connection::Options{});
    client_->start(client_handler_);
  }
  bool turnUntil(const std::function<bool()>& done) { return net::turnUntil(loop_, done); }
  bool bothConnected() {
    return turnUntil([&] { return client_handler_.connected + server_handler_.connected == 2; });
  }
  bool clientClosedWith(CloseReason reason) {
    return turnUntil([&] { return client_handler_.closed == 1; }) &&
           client_handler_.close_reason == reason;
  }
  bool serverClosedWith(CloseReason reason) {
    return turnUntil([&] { return server_handler_.closed == 1; }) &&
           server_handler_.close_reason == reason;
  }
  bool handshakeFailsOnBothSides() {
    start();
    return clientClosedWith(CloseReason::kHandshakeFailed) &&
           serverClosedWith(CloseReason::kHandshakeFailed);
  }

  inline static TestCertificates* certificates_ = nullptr;
  ManualClock clock_;
  EventLoop loop_{clock_};
  const Address address_ = Address::loopback(1);
  SocketPair sockets_;
  std::unique_ptr<TlsContext> server_context_;
  std::unique_ptr<TlsContext> client_context_;
  RecordingHandler server_handler_;
  RecordingHandler client_handler_;
  std::unique_ptr<Connection> server_;
  std::unique_ptr<Connection> client_;
};

TEST_F(TlsTest, AgreesOnHttp2WhenBothAreOffered) {
  makeServer();
  makeClient(clientOptions());
  start();
  EXPECT_EQ(server_handler_.connected, 0);
  ASSERT_TRUE(bothConnected());
  EXPECT_EQ(server_->alpn(), "h2");
  EXPECT_EQ(client_->alpn(), "h2");
  EXPECT_TRUE(server_->isTls());
}

TEST_F(TlsTest, AgreesOnHttp1WhenItAloneIsOffered) {
  makeServer();
  TlsContext::ClientOptions options = clientOptions();
  options.offer_h2 = false;
  makeClient(options);
  start();
  ASSERT_TRUE(bothConnected());
  EXPECT_EQ(server_->alpn(), "http/1.1");
  EXPECT_EQ(client_->alpn(), "http/1.1");
}

TEST_F(TlsTest, SpeaksHttp1WithAClientThatKnowsNoAlpn) {
  makeServer();
  TlsContext::ClientOptions options = clientOptions();
  options.offer_h2 = false;
  options.offer_http1 = false;
  makeClient(options);
  start();
  ASSERT_TRUE(bothConnected());
  EXPECT_EQ(server_->alpn(), "http/1.1");
}

TEST_F(TlsTest, FailsTheHandshakeWhenNoOfferedProtocolIsKnown) {
  makeServer();
  makeClient(clientOptions());
  const std::string_view offer =
      "\x03"
      "foo\x06spdy/1";
  SSL_CTX_set_alpn_protos(client_context_->native(),
                          reinterpret_cast<const unsigned char*>(offer.data()),
                          static_cast<unsigned int>(offer.size()));
  EXPECT_TRUE(handshakeFailsOnBothSides());
}

TEST_F(TlsTest, ClientOfHttp2AloneFailsWithAServerThatDoesNotChooseIt) {
  makeServer();
  SSL_CTX_set_alpn_select_cb(server_context_->native(), nullptr, nullptr);
  TlsContext::ClientOptions options = clientOptions();
  options.offer_http1 = false;
  makeClient(options);
  start();
  EXPECT_TRUE(clientClosedWith(CloseReason::kHandshakeFailed));
}

TEST_F(TlsTest, ClientRefusesAnotherNameAnotherAddressAndAnUnknownAuthority) {
  makeServer();
  const std::vector<TlsContext::ClientOptions> wrong{
      {.ca_file = file("ca.crt"), .server_name = "example.org"},
      {.ca_file = file("ca.crt"), .server_name = "127.0.0.2"},
      {.ca_file = file("stranger.crt"), .server_name = "localhost"},
      {.ca_file = "", .server_name = "localhost"},
  };
  for (const TlsContext::ClientOptions& options : wrong) {
    sockets_ = {};
    client_handler_ = {};
    server_handler_ = {};
    makeClient(options);
    EXPECT_TRUE(handshakeFailsOnBothSides()) << options.ca_file << " " << options.server_name;
  }
}

TEST_F(TlsTest, ClientVerifiesThePeersAddressWhenNoNameIsGiven) {
  makeServer();
  makeClient({.ca_file = file("ca.crt"), .server_name = ""});
  start();
  EXPECT_TRUE(bothConnected());
}

TEST_F(TlsTest, ServerTakesAClientCertificateOfItsAuthority) {
  makeServer(file("ca.crt"));
  makeClient(clientOptions());
  SSL_CTX* native = client_context_->native();
  ASSERT_EQ(SSL_CTX_use_certificate_file(native, file("client.crt").c_str(), SSL_FILETYPE_PEM), 1);
  ASSERT_EQ(SSL_CTX_use_PrivateKey_file(native, file("client.key").c_str(), SSL_FILETYPE_PEM), 1);
  start();
  EXPECT_TRUE(bothConnected());
}

TEST_F(TlsTest, ServerRefusesAClientWithoutCertificateOrWithAStrangers) {
  makeServer(file("ca.crt"));
  for (const char* name : {"", "stranger"}) {
    sockets_ = {};
    client_handler_ = {};
    server_handler_ = {};
    makeClient(clientOptions());
    SSL_CTX* native = client_context_->native();
    if (const std::string who = name; !who.empty()) {
      SSL_CTX_use_certificate_file(native, file(who + ".crt").c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(native, file(who + ".key").c_str(), SSL_FILETYPE_PEM);
    }
    EXPECT_TRUE(handshakeFailsOnBothSides()) << name;
    EXPECT_EQ(server_handler_.connected, 0);
  }
}

TEST_F(TlsTest, ServerRefusesOldVersions) {
  makeServer();
  makeClient(clientOptions());
  SSL_CTX* native = client_context_->native();
  SSL_CTX_set_security_level(native, 0);
  SSL_CTX_set_cipher_list(native, "ALL");
  SSL_CTX_set_min_proto_version(native, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(native, TLS1_1_VERSION);
  EXPECT_TRUE(handshakeFailsOnBothSides());
}

TEST_F(TlsTest, SpeaksTls12WithForwardSecrecyAndAead) {
  makeServer();
  makeClient(clientOptions());
  SSL_CTX_set_max_proto_version(client_context_->native(), TLS1_2_VERSION);
  start();
  EXPECT_TRUE(bothConnected());
  const STACK_OF(SSL_CIPHER)* suites = SSL_CTX_get_ciphers(server_context_->native());
  for (int i = 0; i < sk_SSL_CIPHER_num(suites); ++i) {
    const SSL_CIPHER* suite = sk_SSL_CIPHER_value(suites, i);
    const int exchange = SSL_CIPHER_get_kx_nid(suite);
    EXPECT_TRUE(exchange == NID_kx_ecdhe || exchange == NID_kx_any) << SSL_CIPHER_get_name(suite);
    EXPECT_TRUE(SSL_CIPHER_is_aead(suite)) << SSL_CIPHER_get_name(suite);
  }
}

TEST_F(TlsTest, ServerRefusesSuitesWithoutAead) {
  makeServer();
  makeClient(clientOptions());
  SSL_CTX* native = client_context_->native();
  SSL_CTX_set_max_proto_version(native, TLS1_2_VERSION);
  ASSERT_EQ(SSL_CTX_set_cipher_list(native, "ECDHE-ECDSA-AES128-SHA256"), 1);
  EXPECT_TRUE(handshakeFailsOnBothSides());
}

TEST_F(TlsTest, GivesUpAHandshakeThatTakesTooLong) {
  makeServer();
  server_ = std::make_unique<Connection>(loop_, std::move(sockets_.near), address_,
                                         server_context_.get(), Connection::Options{});
  server_->start(server_handler_);
  sockets_.farSends("\x16\x03\x01");
  clock_.advance(seconds(9));
  runTurn(loop_);
  EXPECT_EQ(server_handler_.closed, 0);
  clock_.advance(seconds(1));
  EXPECT_TRUE(serverClosedWith(CloseReason::kHandshakeTimeout));
}

TEST_F(TlsTest, FailsTheHandshakeOfAPeerThatSpeaksNoTls) {
  makeServer();
  server_ = std::make_unique<Connection>(loop_, std::move(sockets_.near), address_,
                                         server_context_.get(), Connection::Options{});
  server_->start(server_handler_);
  sockets_.farSends("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_TRUE(serverClosedWith(CloseReason::kHandshakeFailed));
}

TEST_F(TlsTest, CarriesManyBytesBothWaysAtOnce) {
  makeServer();
  makeClient(clientOptions());
  constexpr std::size_t kTotal = 2 << 20;
  std::string sent(kTotal, '\0');
  for (std::size_t i = 0; i < kTotal; ++i) {
    sent[i] = static_cast<char>((i * 7919) >> 5);
  }
  const auto feed = [&sent](std::size_t part) {
    return [&sent, part, at = std::size_t{0}](Buffer& output) mutable {
      const std::string_view next = std::string_view(sent).substr(at, part);
      output.append(next);
      at += next.size();
    };
  };
  client_handler_.when_asked = feed(700);
  server_handler_.when_asked = feed(50'000);
  client_handler_.when_connected = [&] { client_->flushLater(); };
  server_handler_.when_connected = [&] { server_->flushLater(); };
  start();
  ASSERT_TRUE(turnUntil([&] {
    return server_handler_.received.size() >= kTotal && client_handler_.received.size() >= kTotal;
  }));
  EXPECT_TRUE(server_handler_.received == sent);
  EXPECT_TRUE(client_handler_.received == sent);
}

TEST_F(TlsTest, KeepsLittleEncryptedForAPeerThatDoesNotRead) {
  makeServer();
  makeClient(clientOptions());
  start();
  ASSERT_TRUE(bothConnected());
  client_->pause(PauseReason::kOverloaded);
  std::size_t offered = 0;
  server_handler_.when_asked = [&](Buffer& output) {
    output.append(std::string(32 * 1024, 's'));
    offered += 32 * 1024;
  };
  server_->flushLater();
  int asked = -1;
  ASSERT_TRUE(turnUntil(
      [&] { return std::exchange(asked, server_handler_.asked) == server_handler_.asked; }));
  EXPECT_LE(server_->output().size(), 128U * 1024);
  clock_.advance(seconds(30));
  EXPECT_TRUE(serverClosedWith(CloseReason::kWriteTimeout));
}

TEST_F(TlsTest, TellsAnOrderlyEnd) {
  makeServer();
  makeClient(clientOptions());
  start();
  ASSERT_TRUE(bothConnected());
  client_->output().append("last words");
  client_->closeAfterFlush();
  server_handler_.when_peer_closed = [this] {
    server_->output().append("heard");
    server_->closeAfterFlush();
  };
  EXPECT_TRUE(serverClosedWith(CloseReason::kLocal));
  EXPECT_EQ(server_handler_.received, "last words");
  EXPECT_EQ(server_handler_.peer_closed, 1);
  EXPECT_TRUE(clientClosedWith(CloseReason::kLocal));
}

TEST_F(TlsTest, TakesAnEndWithoutGoodbyeForATruncation) {
  makeServer();
  makeClient(clientOptions());
  start();
  ASSERT_TRUE(bothConnected());
  client_->output().append("half a mess");
  client_->flushLater();
  ASSERT_TRUE(turnUntil([&] { return server_handler_.received == "half a mess"; }));
  client_->close();
  EXPECT_TRUE(serverClosedWith(CloseReason::kPeerReset));
  EXPECT_EQ(server_handler_.peer_closed, 0);
}

TEST_F(TlsTest, MayBeGivenUpInsideAnyOfItsCalls) {
  makeServer();
  makeClient(clientOptions());
  const auto give_up = [this] { loop_.destroyLater(std::move(server_)); };
  for (std::function<void()>* hook : {&server_handler_.when_connected, &server_handler_.when_bytes,
                                      &server_handler_.when_peer_closed}) {
    sockets_ = {};
    *hook = give_up;
    client_handler_.when_connected = [this] {
      client_->output().append(std::string(100'000, 'c'));
      client_->closeAfterFlush();
    };
    start();
    EXPECT_TRUE(turnUntil([&] { return server_ == nullptr; }));
    *hook = nullptr;
  }
}

TEST_F(TlsTest, KeepsNoRecordBuffersWhileIdle) {
  makeServer();
  makeClient(clientOptions());
  start();
  ASSERT_TRUE(bothConnected());
  constexpr std::size_t kMany = 50;
  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<RecordingHandler> handlers(2 * kMany);
  connections.reserve(2 * kMany);
  const std::size_t before = allocatedBytes();
  for (std::size_t i = 0; i < kMany; ++i) {
    SocketPair sockets;
    for (const auto& [fd, context] : {std::pair{&sockets.near, server_context_.get()},
                                      std::pair{&sockets.far, client_context_.get()}}) {
      RecordingHandler& handler = handlers[connections.size()];
      connections.push_back(std::make_unique<Connection>(loop_, std::move(*fd), address_, context,
                                                         Connection::Options{}));
      Connection& connection = *connections.back();
      handler.when_connected = [&connection] {
        connection.output().append(std::string(10, 'o'));
        connection.flushLater();
      };
      connection.start(handler);
    }
    ASSERT_TRUE(turnUntil([&] {
      return handlers[2 * i].received.size() == 10 && handlers[2 * i + 1].received.size() == 10;
    }));
  }
  // Of both kinds; then the clients, which keep the server's certificates, are gone.
  const std::size_t both = allocatedBytes() - before;
  for (std::size_t i = 1; i < connections.size(); i += 2) {
    connections[i].reset();
  }
  const std::size_t servers = allocatedBytes() - before;
  RecordProperty("bytes_per_idle_server_connection", std::to_string(servers / kMany));
  RecordProperty("bytes_per_idle_client_connection", std::to_string((both - servers) / kMany));
  EXPECT_LT(servers / kMany, 20U * 1024);
  EXPECT_LT((both - servers) / kMany, 40U * 1024);
}

TEST_F(TlsTest, SaysWhichFileItCannotUse) {
  const auto fails = [this](const TlsContext::ServerOptions& options, const std::string& named) {
    const auto made = TlsContext::server(options, clock_);
    ASSERT_FALSE(made.has_value());
    EXPECT_NE(made.error().message.find(named), std::string::npos) << made.error().message;
  };
  const std::string crt = file("server.crt");
  const std::string key = file("server.key");
  fails({file("none.crt"), key, ""}, "none.crt");
  fails({crt, file("none.key"), ""}, "none.key");
  fails({crt, file("client.key"), ""}, "client.key");
  fails({crt, file("locked.key"), ""}, "locked.key");
  fails({crt, key, file("none.crt")}, "none.crt");
  const auto client = TlsContext::client({.ca_file = file("none.crt"), .server_name = "x"});
  ASSERT_FALSE(client.has_value());
  EXPECT_NE(client.error().message.find("none.crt"), std::string::npos);
}

}  // namespace
}  // namespace penstock::net
