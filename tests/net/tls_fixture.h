#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/tls.h"
#include "tests/net/recording_handler.h"
#include "tests/net/socket_pair.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"
#include "tests/support/test_certificates.h"

namespace penstock::net {

// A client and a server Connection on the two ends of one TCP connection.
class TlsFixture : public testing::Test {
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

}  // namespace penstock::net
