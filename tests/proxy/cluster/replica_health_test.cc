#include "proxy/cluster/replica_health.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/net/http/fake_replica.h"
#include "tests/proxy/cluster/reporting_server.h"
#include "tests/support/loop_runner.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using enum ReplicaState;

class ReplicaHealthTest : public ::testing::Test {
 protected:
  ReplicaHealthTest() { config.name = "m"; }

  void begin() {
    cluster = std::make_unique<Cluster>(config, clock, metrics);
    health.emplace(loop, *cluster, nullptr, logger);
  }
  void beginWithChecks() {
    config.health_check = HealthCheckConfig{
        .interval = 1ms, .timeout = 5s, .unhealthy_threshold = 2, .healthy_threshold = 1};
    begin();
  }
  std::vector<ReplicaState> states() const {
    std::vector<ReplicaState> result;
    for (const ReplicaStatus& replica : health->replicas()) {
      result.push_back(replica.state);
    }
    return result;
  }
  bool runUntilStates(const std::vector<ReplicaState>& wanted) {
    return net::runUntil(loop, [&] { return states() == wanted; });
  }
  std::size_t available() const {
    std::size_t count = 0;
    for (const auto& replica : cluster->queue().replicas()) {
      count += replica.available ? 1 : 0;
    }
    return count;
  }
  // The queue's own replica, which a slot names.
  Replica& replicaOf(ReplicaId id) {
    Inbox inbox(cluster->queue(), [] {});
    struct Nobody final : Ticket::Owner {
      void onGranted(Slot) override {}
      void onExpired() override {}
    } nobody;
    std::vector<Slot> slots;
    for (;;) {
      Ticket ticket(inbox, nobody);
      Admission admission = cluster->queue().acquire(ticket, {});
      auto* slot = std::get_if<Slot>(&admission);
      PENSTOCK_CHECK(slot != nullptr, "the replica has a slot");
      slots.push_back(std::move(*slot));
      if (slots.back().replica().id == id) {
        return slots.back().replica();
      }
    }
  }
  // As many failed requests as eject, as workers tell them.
  void fail(ReplicaId id) {
    Replica& replica = replicaOf(id);
    for (std::uint32_t i = 0; i < config.ejection.consecutive_failures; ++i) {
      cluster->replicaFailed(replica);
    }
    net::runTurn(loop);
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  Metrics metrics;
  Logger logger{{.level = LogLevel::kError, .program = "test"}};
  ClusterConfig config;
  std::unique_ptr<Cluster> cluster;
  std::optional<ReplicaHealth> health;
};

TEST_F(ReplicaHealthTest, UsesAReplicaAtOnceWithoutChecks) {
  begin();
  const ReplicaId id = health->add(net::Address::loopback(1));
  EXPECT_THAT(states(), ElementsAre(kReady));
  EXPECT_EQ(available(), 1u);
  EXPECT_EQ(health->replicas()[0].incarnation, id);
  EXPECT_EQ(health->replicas()[0].address.port(), 1);
}

TEST_F(ReplicaHealthTest, UsesAReplicaOnceItPassesItsCheck) {
  beginWithChecks();
  http::FakeReplica replica(loop);
  health->add(replica.address());
  EXPECT_THAT(states(), ElementsAre(kStarting));
  EXPECT_EQ(available(), 0u);
  ASSERT_TRUE(runUntilStates({kReady}));
  EXPECT_EQ(available(), 1u);
  replica.status = 500;
  ASSERT_TRUE(runUntilStates({kUnhealthy}));
  EXPECT_EQ(available(), 0u);
  replica.status = 200;
  ASSERT_TRUE(runUntilStates({kReady}));
  EXPECT_EQ(available(), 1u);
}

TEST_F(ReplicaHealthTest, AReplicaThatNeverPassesIsUnhealthy) {
  beginWithChecks();
  http::FakeReplica replica(loop);
  replica.status = 503;
  health->add(replica.address());
  EXPECT_TRUE(runUntilStates({kUnhealthy}));
}

TEST_F(ReplicaHealthTest, OneThatIsBeingStartedTellsOnceThatItIsReady) {
  beginWithChecks();
  http::FakeReplica replica(loop);
  replica.status = 503;
  int ready = 0;
  health->addStarting(replica.address(), [&] { ++ready; });
  ASSERT_TRUE(net::runUntil(loop, [&] { return replica.asked >= 4; }));
  EXPECT_THAT(states(), ElementsAre(kStarting));
  replica.status = 200;
  ASSERT_TRUE(runUntilStates({kReady}));
  EXPECT_EQ(ready, 1);
  replica.status = 503;
  ASSERT_TRUE(runUntilStates({kUnhealthy}));
  replica.status = 200;
  ASSERT_TRUE(runUntilStates({kReady}));
  EXPECT_EQ(ready, 1);
}

TEST_F(ReplicaHealthTest, EjectsAReplicaThatFailsTooOften) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId bad = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  fail(bad);
  EXPECT_THAT(states(), ElementsAre(kEjected, kReady));
  EXPECT_EQ(available(), 1u);
}

TEST_F(ReplicaHealthTest, AnEjectedReplicaComesBackByItself) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1s};
  begin();
  const ReplicaId bad = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  const TimePoint before = clock.now();
  fail(bad);
  ASSERT_THAT(states(), ElementsAre(kEjected, kReady));
  ASSERT_TRUE(runUntilStates({kReady, kReady}));
  EXPECT_GE(clock.now() - before, 1s);
  fail(bad);
  EXPECT_THAT(states(), ElementsAre(kEjected, kReady)) << "its failures count from zero again";
}

TEST_F(ReplicaHealthTest, EachEjectionInARowLastsLonger) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1s};
  begin();
  const ReplicaId bad = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  for (int nth = 1; nth <= 3; ++nth) {
    const TimePoint before = loop.clock().now();
    fail(bad);
    ASSERT_TRUE(runUntilStates({kReady, kReady}));
    EXPECT_GE(loop.clock().now() - before, 1s * nth);
  }
}

TEST_F(ReplicaHealthTest, NeverEjectsTheLastOne) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId first = health->add(net::Address::loopback(1));
  fail(first);
  EXPECT_THAT(states(), ElementsAre(kReady));
  const ReplicaId second = health->add(net::Address::loopback(2));
  fail(first);
  EXPECT_THAT(states(), ElementsAre(kEjected, kReady)) << "now there is another";
  fail(second);
  EXPECT_THAT(states(), ElementsAre(kEjected, kReady));
}

TEST_F(ReplicaHealthTest, AnEjectedReplicaIsBetterThanNone) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId bad = health->add(net::Address::loopback(1));
  const ReplicaId good = health->add(net::Address::loopback(2));
  fail(bad);
  ASSERT_THAT(states(), ElementsAre(kEjected, kReady));
  health->remove(good);
  EXPECT_THAT(states(), ElementsAre(kReady));
  EXPECT_EQ(available(), 1u);
}

TEST_F(ReplicaHealthTest, AnEjectedReplicaComesBackEarlyWhenTheOthersStop) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId bad = health->add(net::Address::loopback(1));
  const ReplicaId good = health->add(net::Address::loopback(2));
  fail(bad);
  ASSERT_THAT(states(), ElementsAre(kEjected, kReady));
  health->drain(good);
  EXPECT_THAT(states(), ElementsAre(kReady, kDraining));
}

TEST_F(ReplicaHealthTest, EjectsNobodyWhenToldNotTo) {
  config.ejection = {.consecutive_failures = 0, .base_time = 1h};
  begin();
  health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  Replica stand_in(1, net::Address::loopback(1));
  for (int i = 0; i < 100; ++i) {
    cluster->replicaFailed(stand_in);
  }
  net::runTurn(loop);
  EXPECT_THAT(states(), ElementsAre(kReady, kReady));
}

TEST_F(ReplicaHealthTest, AnAnswerInBetweenStartsTheCountAnew) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId id = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  Replica stand_in(id, net::Address::loopback(1));
  for (int i = 0; i < 10; ++i) {
    cluster->replicaFailed(stand_in);
    cluster->replicaFailed(stand_in);
    cluster->replicaAnswered(stand_in);
  }
  net::runTurn(loop);
  EXPECT_THAT(states(), ElementsAre(kReady, kReady));
}

TEST_F(ReplicaHealthTest, OneThatCannotBeConnectedToGetsNothingUntilItCan) {
  begin();
  const net::Address address =
      net::boundAddress(net::listenOn(net::Address::loopback(0), false).value().get());
  const ReplicaId id = health->add(address);
  Replica& replica = replicaOf(id);
  cluster->replicaUnreachable(replica, "refused");
  EXPECT_EQ(available(), 0u) << "before the loop hears of it";
  cluster->replicaUnreachable(replica, "refused");
  ASSERT_TRUE(runUntilStates({kUnhealthy}));
  EXPECT_EQ(available(), 0u);
  const net::UniqueFd back = net::listenOn(address, false).value();
  ASSERT_TRUE(runUntilStates({kReady}));
  EXPECT_EQ(available(), 1u);
  EXPECT_FALSE(replica.unreachable);
}

TEST_F(ReplicaHealthTest, ADrainingReplicaIsNotUsedAgainWhenItCanBeConnectedTo) {
  begin();
  const http::FakeReplica server(loop);
  const ReplicaId id = health->add(server.address());
  cluster->replicaUnreachable(replicaOf(id), "refused");
  ASSERT_TRUE(runUntilStates({kUnhealthy}));
  health->drain(id);
  const TimePoint until = clock.now() + 50ms;
  ASSERT_TRUE(net::runUntil(loop, [&] { return clock.now() >= until; }));
  EXPECT_THAT(states(), ElementsAre(kDraining));
  EXPECT_EQ(available(), 0u);
}

TEST_F(ReplicaHealthTest, ADrainingReplicaGetsNothingMore) {
  beginWithChecks();
  http::FakeReplica replica(loop);
  const ReplicaId id = health->add(replica.address());
  ASSERT_TRUE(runUntilStates({kReady}));
  health->drain(id);
  EXPECT_THAT(states(), ElementsAre(kDraining));
  EXPECT_EQ(available(), 0u);
  // It is checked all the same, so that one knows what it is when it is taken back.
  const int asked = replica.asked;
  ASSERT_TRUE(net::runUntil(loop, [&] { return replica.asked > asked + 1; }));
  EXPECT_THAT(states(), ElementsAre(kDraining));
  EXPECT_EQ(available(), 0u);
  health->resume(id);
  EXPECT_THAT(states(), ElementsAre(kReady));
  EXPECT_EQ(available(), 1u);
}

TEST_F(ReplicaHealthTest, OneThatIsTakenBackIsWhatItWouldHaveBecomeMeanwhile) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1s};
  begin();
  const ReplicaId id = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  Replica& replica = replicaOf(id);
  for (int i = 0; i < 3; ++i) {
    cluster->replicaFailed(replica);
  }
  ASSERT_TRUE(runUntilStates({kEjected, kReady}));
  health->drain(id);
  health->resume(id);
  EXPECT_THAT(states(), ElementsAre(kEjected, kReady));
  ASSERT_TRUE(runUntilStates({kReady, kReady}));

  cluster->replicaUnreachable(replica, "refused");
  health->drain(id);
  net::runTurn(loop);
  health->resume(id);
  EXPECT_THAT(states(), ElementsAre(kUnhealthy, kReady));
  EXPECT_EQ(available(), 1u);
}

TEST_F(ReplicaHealthTest, ARemovedReplicaIsForgottenWhateverComesLater) {
  config.ejection = {.consecutive_failures = 3, .base_time = 1h};
  begin();
  const ReplicaId gone = health->add(net::Address::loopback(1));
  health->add(net::Address::loopback(2));
  Replica stand_in(gone, net::Address::loopback(1));
  for (int i = 0; i < 3; ++i) {
    cluster->replicaFailed(stand_in);
  }
  health->remove(gone);
  health->remove(gone);
  health->drain(gone);
  net::runTurn(loop);
  EXPECT_THAT(states(), ElementsAre(kReady));
}

TEST_F(ReplicaHealthTest, SubscribesToTheLoadReportsOfASidecarUntilItIsGone) {
  begin();
  ReportingServer server(loop);
  const ReplicaId id = health->add(server.address());
  Replica& replica = replicaOf(id);
  EXPECT_EQ(health->replicas()[0].load, std::nullopt);
  cluster->replicaIsSidecar(replica);
  cluster->replicaIsSidecar(replica);
  ASSERT_TRUE(net::runUntil(loop, [&] { return server.asked(0); }));
  EXPECT_TRUE(health->replicas()[0].load.has_value());
  health->remove(id);
  EXPECT_EQ(health->loadReports().status(id), std::nullopt);
  ASSERT_TRUE(net::runUntil(loop, [&] { return server.subscriber(0).gone; }));
  EXPECT_EQ(server.subscriptions(), 1u);
}

TEST_F(ReplicaHealthTest, ASidecarThatIsGoneWhenItIsFoundOutIsLeftAlone) {
  begin();
  const ReplicaId id = health->add(net::Address::loopback(1));
  cluster->replicaIsSidecar(replicaOf(id));
  health->remove(id);
  net::runTurn(loop);
  EXPECT_EQ(health->loadReports().status(id), std::nullopt);
}

TEST_F(ReplicaHealthTest, FindsASidecarByItsChecks) {
  beginWithChecks();
  http::FakeReplica replica(loop);
  replica.is_sidecar = true;
  const ReplicaId id = health->add(replica.address());
  EXPECT_TRUE(net::runUntil(loop, [&] { return health->loadReports().status(id).has_value(); }));
}

TEST_F(ReplicaHealthTest, ReadsTheReportsOfASidecarThatIsNotSubscribedTo) {
  config.protocol = UpstreamProtocol::kHttp1;
  begin();
  ReportingServer server(loop);
  const ReplicaId id = health->add(server.address());
  Replica& replica = replicaOf(id);
  const auto load = [&] { return health->replicas()[0].load; };
  cluster->replicaReported(replica, "TEXT named_metrics.penstock.in_flight=1", clock.now());
  net::runTurn(loop);
  EXPECT_EQ(load(), std::nullopt) << "it may be anybody's";
  cluster->replicaIsSidecar(replica);
  cluster->replicaReported(replica, "TEXT named_metrics.penstock.in_flight=2", clock.now() + 1s);
  cluster->replicaReported(replica, "TEXT named_metrics.penstock.in_flight=nan", clock.now() + 2s);
  ASSERT_TRUE(net::runUntil(loop, [&] { return load().has_value() && load()->rejected == 1; }));
  EXPECT_EQ(load()->source, LoadReportSource::kInBand);
  EXPECT_EQ(load()->report->in_flight, 2u);
  EXPECT_EQ(server.subscriptions(), 0u);
}

TEST_F(ReplicaHealthTest, StatesHaveNames) {
  EXPECT_EQ(toString(kStarting), "starting");
  EXPECT_EQ(toString(kReady), "ready");
  EXPECT_EQ(toString(kUnhealthy), "unhealthy");
  EXPECT_EQ(toString(kEjected), "ejected");
  EXPECT_EQ(toString(kDraining), "draining");
}

}  // namespace
}  // namespace penstock::proxy
