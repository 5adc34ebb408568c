// What a server promises that only a client made of plain OpenSSL calls can provoke: session
// tickets end within a day, and a client cannot renegotiate.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "net/connection.h"
#include "net/tls.h"
#include "tests/net/recording_handler.h"
#include "tests/net/socket_pair.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/test_certificates.h"

namespace penstock::net {
namespace {

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SslPointer = std::unique_ptr<SSL, SslDeleter>;
using SessionPointer = std::unique_ptr<SSL_SESSION, SslDeleter>;

class TlsResumptionTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { makeContexts(""); }

  void makeContexts(const std::string& client_ca) {
    server_context_ = TlsContext::server({.certificate_file = certificates_.file("server.crt"),
                                          .private_key_file = certificates_.file("server.key"),
                                          .client_ca_file = client_ca},
                                         ticket_clock_)
                          .value();
    client_context_ = TlsContext::client({.ca_file = certificates_.file("ca.crt"),
                                          .server_name = "localhost",
                                          .offer_h2 = true,
                                          .offer_http1 = true})
                          .value();
    SSL_CTX* client = client_context_->native().get();
    SSL_CTX_set_max_proto_version(client, GetParam());
    if (!client_ca.empty()) {
      SSL_CTX_use_certificate_file(client, certificates_.file("client.crt").c_str(),
                                   SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(client, certificates_.file("client.key").c_str(),
                                  SSL_FILETYPE_PEM);
    }
  }

  // Runs client, which blocks, on a connection whose server greets with one byte.
  void serve(const std::function<void(SSL*)>& client) {
    SocketPair sockets;
    ::fcntl(sockets.far.get(), F_SETFL, 0);
    RecordingHandler handler;
    Connection server(loop_, std::move(sockets.near), Address::loopback(1), server_context_.get(),
                      Connection::Options{});
    handler.when_connected = [&] {
      server.output().append("!");
      server.flushLater();
    };
    server.start(handler);
    std::atomic<bool> done = false;
    std::thread thread([&] {
      const SslPointer ssl(SSL_new(client_context_->native().get()));
      SSL_set_fd(ssl.get(), sockets.far.get());
      client(ssl.get());
      done = true;
    });
    EXPECT_TRUE(turnUntil(loop_, [&] { return done.load(); }));
    server.close();
    thread.join();
  }

  // One conversation that offers the session before it; tells whether the server took it up.
  bool resumes() {
    bool resumed = false;
    serve([&](SSL* ssl) {
      if (session_ != nullptr) {
        SSL_set_session(ssl, session_.get());
      }
      char greeting = 0;
      EXPECT_EQ(SSL_connect(ssl), 1);
      EXPECT_EQ(SSL_read(ssl, &greeting, 1), 1);
      resumed = SSL_session_reused(ssl) == 1;
      session_.reset(SSL_get1_session(ssl));
      SSL_set_quiet_shutdown(ssl, 1);
      SSL_shutdown(ssl);
    });
    return resumed;
  }

  TestCertificates certificates_;
  ManualClock ticket_clock_;
  ManualClock clock_;
  EventLoop loop_{clock_};
  std::unique_ptr<TlsContext> server_context_;
  std::unique_ptr<TlsContext> client_context_;
  SessionPointer session_;
};

TEST_P(TlsResumptionTest, LastsAsLongAsTheTicketsKeyIsAccepted) {
  EXPECT_FALSE(resumes());
  EXPECT_TRUE(resumes());
  ticket_clock_.advance(std::chrono::hours(11));
  EXPECT_TRUE(resumes());
  ticket_clock_.advance(std::chrono::hours(24));
  EXPECT_FALSE(resumes());
  EXPECT_TRUE(resumes());
}

TEST_P(TlsResumptionTest, OfAnotherServersTicketIsAFullHandshake) {
  EXPECT_FALSE(resumes());
  SetUp();
  EXPECT_FALSE(resumes());
}

TEST_P(TlsResumptionTest, OutlivesAReadingOfTheFiles) {
  EXPECT_FALSE(resumes());
  server_context_->use(server_context_->readAgain().value());
  EXPECT_TRUE(resumes());
}

TEST_P(TlsResumptionTest, WhereClientsHaveCertificatesEndsWithAReadingOfTheFiles) {
  makeContexts(certificates_.file("ca.crt"));
  EXPECT_FALSE(resumes());
  EXPECT_TRUE(resumes());
  server_context_->use(server_context_->readAgain().value());
  EXPECT_FALSE(resumes());
  EXPECT_TRUE(resumes());
}

INSTANTIATE_TEST_SUITE_P(Versions, TlsResumptionTest,
                         testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const testing::TestParamInfo<int>& version) {
                           return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13";
                         });

class TlsRenegotiationTest : public TlsResumptionTest {};

TEST_P(TlsRenegotiationTest, IsRefused) {
  SSL_CTX_clear_options(client_context_->native().get(), SSL_OP_NO_RENEGOTIATION);
  int renegotiated = 1;
  serve([&](SSL* ssl) {
    // Data that is under way would spoil any renegotiation.
    char greeting = 0;
    ASSERT_EQ(SSL_connect(ssl), 1);
    ASSERT_EQ(SSL_read(ssl, &greeting, 1), 1);
    ASSERT_EQ(SSL_renegotiate(ssl), 1);
    renegotiated = SSL_do_handshake(ssl);
  });
  EXPECT_NE(renegotiated, 1);
}

INSTANTIATE_TEST_SUITE_P(Versions, TlsRenegotiationTest, testing::Values(TLS1_2_VERSION));

}  // namespace
}  // namespace penstock::net
