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

  std::optional<Protocol> protocol;
  bool failed = false;
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

}  // namespace
}  // namespace penstock::http
