#include "net/http/connection_pool.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/listener.h"
#include "tests/net/http/fake_replica.h"
#include "tests/net/http/http2_frames.h"
#include "tests/net/socket_options.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {
namespace {

using namespace std::chrono_literals;

struct Waiter final : StreamWaiter {
  void onConnection(ClientConnection& connection) override {
    protocol = connection.protocol();
    local = connection.connection().local();
  }
  void onConnectFailed(net::CloseReason, std::string_view) override { failed = true; }
  void onNoStream() override { no_stream = true; }

  std::optional<Protocol> protocol;
  net::Address local;
  bool failed = false;
  bool no_stream = false;
};

class ConnectionPoolTest : public ::testing::Test {
 protected:
  // The protocol of the connection that somebody who waits is given; none if it cannot be made.
  std::optional<Protocol> connect(ConnectionPool& pool) {
    Waiter waiter;
    pool.wait(waiter);
    EXPECT_TRUE(net::runUntil(loop, [&] { return waiter.protocol.has_value() || waiter.failed; }));
    return waiter.protocol;
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  const PoolSettings settings = [] {
    PoolSettings made;
    made.connect_timeout = 5s;
    return made;
  }();
};

TEST_F(ConnectionPoolTest, FindsOutWhatTheServerSpeaks) {
  FakeReplica both(loop);
  ConnectionPool first(loop, both.address(), settings);
  EXPECT_EQ(connect(first), Protocol::kHttp2);
  EXPECT_EQ(both.connections, 1);

  FakeReplica only_http1(loop, FakeReplica::Speaks::kHttp1Only);
  ConnectionPool second(loop, only_http1.address(), settings);
  EXPECT_EQ(connect(second), Protocol::kHttp11);
  EXPECT_EQ(only_http1.connections, 2);
}

// What came of one request.
struct Ended final : ResponseHandler {
  void onInformational(ResponseHead) override {}
  void onResponseHead(ResponseHead, bool) override {}
  void onData(std::span<const std::uint8_t>, bool) override {}
  void onTrailers(Headers) override {}
  void onSendReady() override {}
  void onEnd(StreamEnd how) override { end = how; }

  std::optional<StreamEnd> end;
};

struct Asker final : StreamWaiter {
  void onConnection(ClientConnection& connection) override {
    protocol = connection.protocol();
    RequestHead head;
    head.method = "POST";
    head.scheme = "http";
    head.authority = "model";
    head.path = "/";
    connection.newStream(response).sendHead(head, true);
  }
  void onConnectFailed(net::CloseReason, std::string_view) override {}
  void onNoStream() override {}

  std::optional<Protocol> protocol;
  Ended response;
};

TEST_F(ConnectionPoolTest, AServerThatGreetsTooLateIsAskedInHttp2AfterAll) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp2Late);
  PoolSettings impatient = settings;
  impatient.limits.preface_timeout = 50ms;
  ConnectionPool pool(loop, replica.address(), impatient);
  Asker taken_for_http1;
  pool.wait(taken_for_http1);
  ASSERT_TRUE(net::runUntil(loop, [&] { return taken_for_http1.response.end.has_value(); }));
  EXPECT_EQ(taken_for_http1.protocol, Protocol::kHttp11);
  EXPECT_EQ(taken_for_http1.response.end, StreamEnd::kRefused);

  Asker again;
  pool.wait(again);
  ASSERT_TRUE(net::runUntil(loop, [&] { return again.response.end.has_value(); }));
  EXPECT_EQ(again.protocol, Protocol::kHttp2);
  EXPECT_EQ(again.response.end, StreamEnd::kComplete);
}

TEST_F(ConnectionPoolTest, AGreetingWhereHttp1WasConfiguredIsAProtocolError) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp2Late);
  PoolSettings fixed = settings;
  fixed.protocol = UpstreamProtocol::kHttp1;
  ConnectionPool pool(loop, replica.address(), fixed);
  Asker asker;
  pool.wait(asker);
  ASSERT_TRUE(net::runUntil(loop, [&] { return asker.response.end.has_value(); }));
  EXPECT_EQ(asker.response.end, StreamEnd::kProtocolError);
}

TEST_F(ConnectionPoolTest, AServerThatEndsInMidGreetingIsStillAskedInHttp2) {
  FakeReplica replica(loop);
  replica.hang_ups = 1;
  ConnectionPool pool(loop, replica.address(), settings);
  EXPECT_EQ(connect(pool), Protocol::kHttp2);
  EXPECT_EQ(replica.connections, 2);
}

TEST_F(ConnectionPoolTest, AServerThatAlwaysHangsUpOnHttp2IsAskedInHttp1) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp1Only);
  replica.hang_ups = 2;
  ConnectionPool pool(loop, replica.address(), settings);
  EXPECT_EQ(connect(pool), Protocol::kHttp11);
  EXPECT_EQ(replica.connections, 3);
}

TEST_F(ConnectionPoolTest, TwoDeathsInMidGreetingAreNotTwoHangUpsInARow) {
  std::optional<FakeReplica> replica(std::in_place, loop);
  const net::Address address = replica->address();
  replica->hang_ups = 1;
  replica->before_hang_up = [&replica] { replica->stopListening(); };
  ConnectionPool pool(loop, address, settings);
  Waiter waiter;
  pool.wait(waiter);
  ASSERT_TRUE(net::runUntil(loop, [&] { return waiter.failed; }));

  replica.emplace(loop, FakeReplica::Speaks::kHttp2AndHttp1, address);
  replica->hang_ups = 1;
  EXPECT_EQ(connect(pool), Protocol::kHttp2);
}

TEST_F(ConnectionPoolTest, GivesUpOnAServerThatAllowsNoStreamAndKeepsTwoConnections) {
  FakeReplica replica(loop);
  replica.max_streams = 0;
  PoolFigures figures;
  PoolSettings impatient = settings;
  impatient.stream_timeout = 500ms;
  impatient.figures = &figures;
  ConnectionPool pool(loop, replica.address(), impatient);
  for (int i = 0; i < 4; ++i) {
    Waiter waiter;
    pool.wait(waiter);
    ASSERT_TRUE(net::runUntil(loop, [&] { return waiter.no_stream; }));
    EXPECT_FALSE(waiter.failed);
  }
  EXPECT_EQ(replica.connections, 2);
  EXPECT_EQ(figures.open, 2);
  EXPECT_EQ(figures.opened, 2u);
  EXPECT_EQ(figures.no_stream, 4u);
}

TEST_F(ConnectionPoolTest, AReplicaThatEndsWhileItIsUsedUpIsConnectedToAgainAfterAPause) {
  FakeReplica replica(loop);
  replica.max_streams = 0;
  PoolSettings patient = settings;
  patient.stream_timeout = 5s;
  ConnectionPool pool(loop, replica.address(), patient);
  Waiter waiter;
  pool.wait(waiter);
  ASSERT_TRUE(net::runUntil(loop, [&] { return replica.connections == 2; }));
  replica.max_streams = 1;
  replica.hangUp();
  EXPECT_TRUE(net::runUntil(loop, [&] { return waiter.protocol.has_value(); }));
  EXPECT_EQ(replica.connections, 3);
}

TEST(ConnectBackOff, DoublesFromOneUselessConnectionToTheNextUntilOneIsUsed) {
  const TimePoint now{};
  ConnectBackOff back_off;
  EXPECT_TRUE(back_off.allows(now));
  for (const Duration pause : {25ms, 50ms, 100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    back_off.onUseless(now);
    EXPECT_EQ(back_off.next(), now + pause);
    EXPECT_FALSE(back_off.allows(now));
  }
  back_off.onUsed();
  EXPECT_TRUE(back_off.allows(now));
  back_off.onUseless(now);
  EXPECT_EQ(back_off.next(), now + 25ms);
}

// A server over HTTP/1 may leave a request unread while it works on another.
TEST_F(ConnectionPoolTest, OnlyPeersThatReadAtAllTimesHaveToTakeWhatIsSent) {
  for (const auto speaks : {FakeReplica::Speaks::kHttp2AndHttp1, FakeReplica::Speaks::kHttp1Only}) {
    FakeReplica replica(loop, speaks);
    ConnectionPool pool(loop, replica.address(), settings);
    Waiter waiter;
    pool.wait(waiter);
    ASSERT_TRUE(net::runUntil(loop, [&] { return waiter.protocol.has_value(); }));
    const bool http2 = speaks == FakeReplica::Speaks::kHttp2AndHttp1;
    const net::SocketOptions client(waiter.local, replica.address());
    ASSERT_TRUE(client.found());
    EXPECT_EQ(client.userTimeoutMs(), http2 ? 30'000 : 0);
    const net::SocketOptions server(replica.address(), waiter.local);
    ASSERT_TRUE(server.found());
    EXPECT_EQ(server.userTimeoutMs(), http2 ? 30'000 : 0) << "a raw socket is no server of ours";
  }
}

// Opens a stream and asks as soon as it may.
struct Asking final : StreamWaiter, ResponseHandler {
  ~Asking() override {
    if (stream != nullptr) {
      stream->reset(ResetReason::kCancel);
    }
  }
  void onConnection(ClientConnection& connection) override {
    stream = &connection.newStream(*this);
    RequestHead head;
    head.method = "GET";
    head.scheme = "http";
    head.authority = "a";
    head.path = "/";
    stream->sendHead(head, true);
  }
  void onConnectFailed(net::CloseReason, std::string_view) override { ADD_FAILURE(); }
  void onNoStream() override { ADD_FAILURE(); }
  void onInformational(ResponseHead) override {}
  void onResponseHead(ResponseHead, bool) override {}
  void onData(std::span<const std::uint8_t>, bool) override {}
  void onTrailers(Headers) override {}
  void onSendReady() override {}
  void onEnd(StreamEnd) override { stream = nullptr; }

  ClientStream* stream = nullptr;
};

class DoubtedConnectionTest : public ::testing::Test {
 protected:
  DoubtedConnectionTest() {
    settings_.protocol = UpstreamProtocol::kHttp2;
    settings_.connect_timeout = std::chrono::seconds(5);
  }
  // The server's end of the next connection, once it is made.
  std::unique_ptr<FramePeer> accept() {
    int fd = -1;
    EXPECT_TRUE(net::turnUntil(loop_, [&] {
      fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK);
      return fd >= 0;
    }));
    auto peer = std::make_unique<FramePeer>(net::UniqueFd(fd));
    peer->skipPreface();
    peer->send(settingsFrame({}) + makeFrame(kSettingsFrame, kAck, 0, ""));
    return peer;
  }
  bool turnUntilAsked(const Asking& waiter) {
    return net::turnUntil(loop_,
                          [&] { return waiter.stream != nullptr && waiter.stream->started(); });
  }
  void giveUpAfterASecond(Asking& waiter) {
    clock_.advance(1s);
    std::exchange(waiter.stream, nullptr)->reset(ResetReason::kCancel);
  }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  PoolSettings settings_;
  net::UniqueFd listening_ = net::listenOn(net::Address::loopback(0), false).value();
  ConnectionPool pool_{loop_, net::boundAddress(listening_.get()), settings_};
};

TEST_F(DoubtedConnectionTest, ServesItsWaitersOnceItHasAnswered) {
  Asking first, second;
  pool_.wait(first);
  const auto peer = accept();
  ASSERT_TRUE(turnUntilAsked(first));
  giveUpAfterASecond(first);
  pool_.wait(second);
  EXPECT_EQ(second.stream, nullptr);
  peer->send(makeFrame(kPingFrame, kAck, 0, std::string(8, '\0')));
  EXPECT_TRUE(turnUntilAsked(second));
  EXPECT_LT(::accept(listening_.get(), nullptr, nullptr), 0) << "no other connection was made";
}

TEST_F(DoubtedConnectionTest, IsReplacedIfItDoesNotAnswer) {
  Asking first, second;
  pool_.wait(first);
  const auto dead = accept();
  ASSERT_TRUE(turnUntilAsked(first));
  giveUpAfterASecond(first);
  pool_.wait(second);
  clock_.advance(2s);
  const auto alive = accept();
  EXPECT_TRUE(turnUntilAsked(second));
  EXPECT_TRUE(net::turnUntil(loop_, [&] {
    dead->poll();
    return dead->sawEnd();
  }));
}

}  // namespace
}  // namespace penstock::http
