// A replica that refuses requests gets the next one after a pause, or when newer news says so.

#include <memory>

#include <gtest/gtest.h>

#include "proxy/cluster/replica_health.h"
#include "tests/net/http/fake_replica.h"
#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

// A line of requests in front of one replica, which the test answers for.
class ReplicaRefusalTest : public ::testing::Test {
 protected:
  struct Request final : Ticket::Owner {
    explicit Request(Inbox& inbox) : ticket(inbox, *this) {}
    void onGranted(Slot granted) override { slot = std::move(granted); }
    void onExpired() override {}
    Slot slot;
    Ticket ticket;
  };

  void begin(const ClusterConfig& config = named()) {
    cluster = std::make_unique<Cluster>(config, clock, metrics);
    health.emplace(loop, *cluster, nullptr, log.logger());
    health->add(server.address());
    inbox.emplace(cluster->queue(), [] {});
  }
  static ClusterConfig named() {
    ClusterConfig config;
    config.name = "m";
    config.concurrency_target = 2;
    return config;
  }
  void arrive() {
    Request& request = *line.emplace_back(std::make_unique<Request>(*inbox));
    Admission admission = cluster->queue().acquire(request.ticket, {});
    if (auto* slot = std::get_if<Slot>(&admission)) {
      request.slot = std::move(*slot);
    }
  }
  std::size_t sent() {
    inbox->collect(100);
    std::size_t count = 0;
    for (const auto& request : line) {
      count += request->slot.valid() ? 1 : 0;
    }
    return count;
  }
  void refuse(Request& request) {
    cluster->replicaRefused(request.slot);
    cluster->queue().putBack(std::move(request.slot), request.ticket, {}, RetryCause::kRefused);
    net::runTurn(loop);
  }
  void advance(Duration by) {
    clock.advance(by);
    net::runTurn(loop);
  }

  ManualClock clock;
  net::EventLoop loop{clock};
  CapturedLog log;
  Metrics metrics;
  http::FakeReplica server{loop};
  std::unique_ptr<Cluster> cluster;
  std::optional<ReplicaHealth> health;
  std::optional<Inbox> inbox;
  std::vector<std::unique_ptr<Request>> line;
};

TEST_F(ReplicaRefusalTest, ThePauseDoublesFromTenMillisecondsToOneSecond) {
  begin();
  arrive();
  for (const Duration pause : {10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1000ms, 1000ms}) {
    refuse(*line[0]);
    advance(pause - 1ms);
    ASSERT_EQ(sent(), 0u) << inSeconds(pause);
    advance(1ms);
    ASSERT_EQ(sent(), 1u) << inSeconds(pause);
  }
  line[0]->slot.accepted();
  refuse(*line[0]);
  advance(10ms);
  EXPECT_EQ(sent(), 1u) << "from the shortest again once a request was accepted";
}

TEST_F(ReplicaRefusalTest, OneRequestTriesAtATime) {
  begin();
  arrive();
  arrive();
  arrive();
  refuse(*line[0]);
  ASSERT_EQ(sent(), 1u) << "the one that was sent before";
  line[1]->slot.release();
  ASSERT_EQ(sent(), 0u);
  advance(10ms);
  EXPECT_EQ(sent(), 1u);
  advance(9ms);
  EXPECT_EQ(sent(), 1u);
  advance(1ms);
  EXPECT_EQ(sent(), 2u) << "the first was not refused in as long a time";
}

TEST_F(ReplicaRefusalTest, APassedCheckThatWasBegunLaterOpensIt) {
  ClusterConfig config = named();
  config.health_check = HealthCheckConfig{.interval = 100ms, .timeout = 5s};
  begin(config);
  ASSERT_TRUE(net::turnUntil(loop, [&] { return health->isReady(1); }));
  arrive();
  arrive();
  arrive();
  // So that the pause is longer than the interval of the checks.
  for (const Duration pause : {10ms, 20ms}) {
    refuse(*line[0]);
    refuse(*line[1]);
    advance(pause);
    advance(pause);
    ASSERT_EQ(sent(), 2u);
  }
  clock.advance(1ms);
  refuse(*line[0]);
  refuse(*line[1]);
  ASSERT_EQ(sent(), 0u);
  const int asked = server.asked;
  clock.advance(39ms);
  ASSERT_TRUE(net::turnUntil(loop, [&] { return server.asked > asked; })) << "the next check";
  ASSERT_TRUE(net::turnUntil(loop, [&] { return sent() == 2; })) << "both at once";
}

}  // namespace
}  // namespace penstock::proxy
