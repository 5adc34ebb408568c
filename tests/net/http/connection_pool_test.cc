#include "net/http/connection_pool.h"

#include <optional>

#include <gtest/gtest.h>

#include "tests/net/http/fake_replica.h"
#include "tests/support/loop_runner.h"

namespace penstock::http {
namespace {

using namespace std::chrono_literals;

struct Waiter final : StreamWaiter {
  void onConnection(ClientConnection& connection) override { protocol = connection.protocol(); }
  void onConnectFailed(net::CloseReason) override { failed = true; }
  void onNoStream() override { no_stream = true; }

  std::optional<Protocol> protocol;
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
  impatient.stream_timeout = 50ms;
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

}  // namespace
}  // namespace penstock::http
