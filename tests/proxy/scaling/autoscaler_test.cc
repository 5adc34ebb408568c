// The autoscaler with a scaler that only remembers what it was told. What it decides is the
// policy's affair; here it is when it decides, whom it tells, and what it says about it.

#include "proxy/scaling/autoscaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct RememberingScaler final : ReplicaScaler {
  void scaleTo(std::uint32_t replicas) override {
    told.push_back(replicas);
    now.starting = replicas - std::min(replicas, now.ready);
  }
  Fleet fleet() const override { return now; }

  Fleet now;
  std::vector<std::uint32_t> told;
};

struct Asking final : Ticket::Owner {
  explicit Asking(Cluster& cluster) : inbox(cluster.queue(), [] {}), ticket(inbox, *this) {
    if (std::holds_alternative<Waiting>(cluster.queue().acquire(ticket, {}))) {
      cluster.requestWaits();
    }
  }
  void onGranted(Slot) override {}
  void onExpired() override {}

  Inbox inbox;
  Ticket ticket;
};

class AutoscalerTest : public ::testing::Test {
 protected:
  AutoscalerTest() {
    config.name = "m";
    config.autoscaling = {.min_replicas = 0, .max_replicas = 3};
  }
  void start(ReplicaScaler* scales) {
    cluster.emplace(config, clock, metrics);
    health.emplace(loop, *cluster, nullptr, log.logger());
    autoscaler.emplace(loop, *cluster, *health, scales, metrics, log.logger());
    autoscaler->start();
  }
  bool runUntil(const std::function<bool()>& done) { return net::runUntil(loop, done); }

  SteadyClock clock;
  net::EventLoop loop{clock};
  Metrics metrics;
  CapturedLog log;
  ClusterConfig config;
  RememberingScaler scaler;
  std::optional<Cluster> cluster;
  std::optional<ReplicaHealth> health;
  std::optional<Autoscaler> autoscaler;
};

TEST_F(AutoscalerTest, WakesTheClusterWhenTheFirstRequestWaits) {
  start(&scaler);
  EXPECT_THAT(scaler.told, IsEmpty());
  Asking request(*cluster);
  // In the next turn of the loop, not at the next tick.
  bool turned = false;
  loop.post([&] { turned = true; });
  ASSERT_TRUE(runUntil([&] { return turned; }));
  EXPECT_THAT(scaler.told, ElementsAre(1));
  const ScalingStatus status = autoscaler->status();
  EXPECT_EQ(status.latest.load.waiting, 1u);
  EXPECT_EQ(status.latest.decision.reason, ScalingReason::kFromZero);
  ASSERT_EQ(status.changes.size(), 2u) << "the first decision, and this one";
  EXPECT_EQ(status.changes.back().decision.replicas, 1u);
}

TEST_F(AutoscalerTest, SaysWhyInTheLogAndInTheMetrics) {
  start(&scaler);
  Asking request(*cluster);
  ASSERT_TRUE(runUntil([&] { return !log.events("scaling").empty(); }));
  const auto line = log.events("scaling").front();
  EXPECT_EQ(line["cluster"], "m");
  EXPECT_EQ(line["from"], 0);
  EXPECT_EQ(line["to"], 1);
  EXPECT_EQ(line["reason"], "from_zero");
  EXPECT_EQ(line["waiting"], 1);
  EXPECT_THAT(metrics.render(),
              HasSubstr("penstock_cluster_scalings_total{cluster=\"m\",direction=\"up\",reason="
                        "\"from_zero\"} 1"));
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_cluster_desired_replicas{cluster=\"m\"} 1"));
}

TEST_F(AutoscalerTest, RaisesToTheLeastAtOnce) {
  config.autoscaling = {.min_replicas = 2, .max_replicas = 3};
  start(&scaler);
  EXPECT_THAT(scaler.told, ElementsAre(2));
  EXPECT_EQ(autoscaler->status().latest.decision.reason, ScalingReason::kMinReplicas);
}

TEST_F(AutoscalerTest, GivesAdviceWhereSomebodyElseScales) {
  config.autoscaling = {.min_replicas = 2, .max_replicas = 3};
  start(nullptr);
  health->add(net::Address::loopback(1));
  Asking first(*cluster);
  Asking second(*cluster);
  ASSERT_TRUE(runUntil([&] { return log.events("scaling advice").size() == 1; }));
  ASSERT_TRUE(runUntil([&] { return autoscaler->status().latest.fleet.ready == 1; }));
  EXPECT_TRUE(autoscaler->status().advice_only);
  EXPECT_EQ(autoscaler->status().latest.decision.replicas, 2u);
}

TEST_F(AutoscalerTest, DecidesNothingAnyMoreOnceStopped) {
  start(&scaler);
  autoscaler->stop();
  Asking request(*cluster);
  bool turned = false;
  loop.post([&] { turned = true; });
  ASSERT_TRUE(runUntil([&] { return turned; }));
  EXPECT_THAT(scaler.told, IsEmpty());
}

}  // namespace
}  // namespace penstock::proxy
