#include "proxy/cluster/cluster.h"

#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

ClusterConfig named(const std::string& name) {
  ClusterConfig config;
  config.name = name;
  return config;
}

class ClusterTest : public ::testing::Test {
 protected:
  ManualClock clock;
  Metrics metrics;
  Cluster cluster{named("m"), clock, metrics};
};

TEST_F(ClusterTest, CountsAnswersByStatus) {
  cluster.countOutcome(200, Reason::kNone);
  cluster.countOutcome(200, Reason::kNone);
  cluster.countOutcome(500, Reason::kNone);
  const std::string page = metrics.render();
  EXPECT_THAT(
      page,
      HasSubstr("penstock_cluster_requests_total{cluster=\"m\",code=\"200\",reason=\"none\"} 2"));
  EXPECT_THAT(
      page,
      HasSubstr("penstock_cluster_requests_total{cluster=\"m\",code=\"500\",reason=\"none\"} 1"));
}

TEST_F(ClusterTest, CountsLocalRepliesByReason) {
  cluster.countOutcome(429, Reason::kQueueFull);
  cluster.countOutcome(429, Reason::kQueueFull);
  cluster.countOutcome(0, Reason::kClientGone);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"429\",reason=\"queue_full\"} 2"));
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"499\",reason=\"client_gone\"} 1"));
}

TEST_F(ClusterTest, CountsWhatTheClientWasToldWhateverTheReason) {
  cluster.countOutcome(200, Reason::kQueueFull);  // to gRPC
  cluster.countOutcome(200, Reason::kReplicaConnectionLost);
  cluster.countOutcome(101, Reason::kReplicaConnectionLost);
  cluster.countOutcome(101, Reason::kReplicaConnectionLost);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"200\",reason=\"queue_full\"} 1"));
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"200\",reason=\"replica_connection_lost\"} 1"));
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"101\",reason=\"replica_connection_lost\"} 2"));
}

TEST_F(ClusterTest, CountsFromManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        cluster.countOutcome(200 + n % 50, Reason::kNone);
        cluster.countOutcome(0, Reason::kQueueTimeout);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"249\",reason=\"none\"} 80"));
  EXPECT_THAT(page, HasSubstr("{cluster=\"m\",code=\"503\",reason=\"queue_timeout\"} 4000"));
}

TEST_F(ClusterTest, ShowsTheQueuesFiguresAsTheyAreNow) {
  struct Nobody final : Ticket::Owner {
    void onGranted(Slot) override {}
    void onExpired() override {}
  } nobody;
  Inbox inbox(cluster.queue(), [] {});
  Ticket waiting(inbox, nobody);
  ASSERT_TRUE(std::holds_alternative<Waiting>(cluster.queue().acquire(waiting, {})));
  clock.advance(3s);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("penstock_cluster_waiting{cluster=\"m\"} 1"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_in_flight{cluster=\"m\"} 0"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_arrivals_total{cluster=\"m\"} 1"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_waiting_time_seconds_total{cluster=\"m\"} 3"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_in_flight_time_seconds_total{cluster=\"m\"} 0"));
  EXPECT_THAT(page,
              HasSubstr("penstock_cluster_slot_idle_while_waiting_seconds_total{cluster=\"m\"} 0"));
}

TEST_F(ClusterTest, ObservesTimesAndRareEvents) {
  cluster.observeWaiting(2s);
  cluster.observeTotal(5s);
  cluster.countRetry();
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("penstock_cluster_waiting_seconds_sum{cluster=\"m\"} 2"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_request_seconds_sum{cluster=\"m\"} 5"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_retries_total{cluster=\"m\"} 1"));
  EXPECT_THAT(page, HasSubstr("penstock_cluster_limit_exceeded_total{cluster=\"m\"} 0"));
  cluster.countLimitExceeded();
  EXPECT_THAT(metrics.render(),
              HasSubstr("penstock_cluster_limit_exceeded_total{cluster=\"m\"} 1"));
}

TEST_F(ClusterTest, TakesItsQueueFromTheConfiguration) {
  ClusterConfig config = named("other");
  config.concurrency_target = 7;
  config.queue.max_requests = 1;
  const Cluster other(config, clock, metrics);
  EXPECT_EQ(other.queue().snapshot().target, 7u);
  EXPECT_EQ(other.name(), "other");
}

TEST_F(ClusterTest, PutsNewSettingsIntoEffect) {
  std::vector<std::uint32_t> told;
  cluster.setSettingsListener(
      [&](const ClusterSettings& settings) { told.push_back(settings.concurrency_target); });
  ClusterSettings settings = cluster.settings();
  EXPECT_EQ(settings, ClusterSettings());
  settings.concurrency_target = 6;
  settings.queue = {.max_requests = 0, .max_bytes = 0_B, .timeout = 7s};
  settings.autoscaling.max_replicas = 8;
  cluster.changeSettings(settings);
  EXPECT_EQ(cluster.settings(), settings);
  EXPECT_EQ(cluster.queue().snapshot().target, 6u);
  EXPECT_EQ(cluster.queueTimeout(), 7s);
  EXPECT_EQ(told, std::vector<std::uint32_t>{6});
  EXPECT_EQ(cluster.config().concurrency_target, 1u);
}

TEST_F(ClusterTest, TellsOnceThatAReplicaIsASidecar) {
  std::vector<ReplicaId> told;
  cluster.setSidecarListener([&](ReplicaId id) { told.push_back(id); });
  Replica replica(3, net::Address::loopback(1));
  replica.kind = ReplicaKind::kPlain;
  cluster.replicaIsSidecar(replica);
  cluster.replicaIsSidecar(replica);
  EXPECT_TRUE(replica.isSidecar());
  EXPECT_EQ(told, std::vector<ReplicaId>{3});
}

TEST_F(ClusterTest, TellsOfOneReportInAWhileOfEachReplica) {
  std::vector<std::pair<ReplicaId, std::string>> told;
  Replica first(1, net::Address::loopback(1));
  Replica second(2, net::Address::loopback(2));
  cluster.replicaReported(first, "nobody listens", clock.now());
  cluster.setReportListener(
      [&](ReplicaId id, const std::string& report) { told.emplace_back(id, report); });
  const auto report = [&](Replica& replica, std::string_view text) {
    cluster.replicaReported(replica, text, clock.now());
  };
  report(first, "a");
  report(first, "b");
  report(second, "c");
  clock.advance(99ms);
  report(first, "d");
  clock.advance(1ms);
  report(first, "e");
  EXPECT_EQ(told, (std::vector<std::pair<ReplicaId, std::string>>{{1, "a"}, {2, "c"}, {1, "e"}}));
}

TEST_F(ClusterTest, TellsOnceThatAReplicaFailsTooOften) {
  std::vector<ReplicaId> told;
  cluster.setFailureListener([&](ReplicaId id) { told.push_back(id); });
  Replica replica(3, net::Address::loopback(1));
  for (int i = 0; i < 4; ++i) {
    cluster.replicaFailed(replica);
  }
  EXPECT_TRUE(told.empty());
  for (int i = 0; i < 4; ++i) {
    cluster.replicaFailed(replica);
  }
  EXPECT_EQ(told, std::vector<ReplicaId>{3});
}

}  // namespace
}  // namespace penstock::proxy
