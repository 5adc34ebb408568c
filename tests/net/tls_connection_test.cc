#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/tls_fixture.h"
#include "tests/support/allocated_bytes.h"

namespace penstock::net {
namespace {

using std::chrono::seconds;

class TlsConnectionTest : public TlsFixture {};

TEST_F(TlsConnectionTest, GivesUpAHandshakeThatTakesTooLong) {
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

TEST_F(TlsConnectionTest, FailsTheHandshakeOfAPeerThatSpeaksNoTls) {
  makeServer();
  server_ = std::make_unique<Connection>(loop_, std::move(sockets_.near), address_,
                                         server_context_.get(), Connection::Options{});
  server_->start(server_handler_);
  sockets_.farSends("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_TRUE(serverClosedWith(CloseReason::kHandshakeFailed));
}

TEST_F(TlsConnectionTest, CarriesManyBytesBothWaysAtOnce) {
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

TEST_F(TlsConnectionTest, EndsItsOutputAndReadsOn) {
  makeServer();
  makeClient(clientOptions());
  start();
  ASSERT_TRUE(bothConnected());
  client_->output().append(std::string_view("last"));
  client_->endOutput();
  ASSERT_TRUE(turnUntil([&] { return server_handler_.peer_closed == 1; }));
  EXPECT_EQ(server_handler_.received, "last");
  server_->output().append(std::string_view("still"));
  server_->flushLater();
  ASSERT_TRUE(turnUntil([&] { return client_handler_.received == "still"; }));
  EXPECT_EQ(client_handler_.closed, 0);
}

TEST_F(TlsConnectionTest, KeepsLittleEncryptedForAPeerThatDoesNotRead) {
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

TEST_F(TlsConnectionTest, TellsAnOrderlyEnd) {
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

TEST_F(TlsConnectionTest, TakesAnEndWithoutGoodbyeForATruncation) {
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

TEST_F(TlsConnectionTest, MayBeGivenUpInsideAnyOfItsCalls) {
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

TEST_F(TlsConnectionTest, KeepsNoRecordBuffersWhileIdle) {
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

}  // namespace
}  // namespace penstock::net
