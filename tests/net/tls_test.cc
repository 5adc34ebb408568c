#include "net/tls.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tests/net/tls_fixture.h"

namespace penstock::net {
namespace {

class TlsTest : public TlsFixture {};

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
  SSL_CTX_set_alpn_protos(client_context_->native().get(),
                          reinterpret_cast<const unsigned char*>(offer.data()),
                          static_cast<unsigned int>(offer.size()));
  EXPECT_TRUE(handshakeFailsOnBothSides());
}

TEST_F(TlsTest, ClientOfHttp2AloneFailsWithAServerThatDoesNotChooseIt) {
  makeServer();
  SSL_CTX_set_alpn_select_cb(server_context_->native().get(), nullptr, nullptr);
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
  SSL_CTX* native = client_context_->native().get();
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
    SSL_CTX* native = client_context_->native().get();
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
  SSL_CTX* native = client_context_->native().get();
  SSL_CTX_set_security_level(native, 0);
  SSL_CTX_set_cipher_list(native, "ALL");
  SSL_CTX_set_min_proto_version(native, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(native, TLS1_1_VERSION);
  EXPECT_TRUE(handshakeFailsOnBothSides());
}

TEST_F(TlsTest, SpeaksTls12WithForwardSecrecyAndAead) {
  makeServer();
  makeClient(clientOptions());
  SSL_CTX_set_max_proto_version(client_context_->native().get(), TLS1_2_VERSION);
  start();
  EXPECT_TRUE(bothConnected());
  const STACK_OF(SSL_CIPHER)* suites = SSL_CTX_get_ciphers(server_context_->native().get());
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
  SSL_CTX* native = client_context_->native().get();
  SSL_CTX_set_max_proto_version(native, TLS1_2_VERSION);
  ASSERT_EQ(SSL_CTX_set_cipher_list(native, "ECDHE-ECDSA-AES128-SHA256"), 1);
  EXPECT_TRUE(handshakeFailsOnBothSides());
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
