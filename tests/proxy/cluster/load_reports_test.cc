#include "proxy/cluster/load_reports.h"

#include <limits>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/load_report/load_report_message.h"
#include "tests/proxy/cluster/reporting_server.h"
#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr const char* kExceeds =
    "a replica has more requests in flight than the concurrency target";
constexpr const char* kTooLow =
    "the concurrency target is below the predict concurrency of replicas, which cannot be reached";

LoadReport withGate(std::uint32_t predict_in_flight, std::uint32_t gate_waiting,
                    std::uint32_t predict_concurrency) {
  LoadReport report;
  report.predict_in_flight = predict_in_flight;
  report.gate_waiting = gate_waiting;
  report.predict_concurrency = predict_concurrency;
  return report;
}

LoadReport withInFlight(std::uint32_t in_flight) {
  LoadReport report;
  report.in_flight = in_flight;
  return report;
}

class LoadReportsTest : public ::testing::Test {
 protected:
  LoadReportsTest() { replica.emplace(addReplica()); }

  static ClusterConfig config() {
    ClusterConfig config;
    config.name = "m";
    config.concurrency_target = 2;
    return config;
  }
  // In place of the one before.
  Replica& addReplica(bool subscribe = false) {
    if (replica.has_value()) {
      reports.remove(its().id);
      cluster.queue().removeReplica(its().id);
    }
    Replica& added = cluster.queue().addReplica(server.address());
    cluster.queue().setAvailable(added.id, true);
    reports.add(added, subscribe);
    return added;
  }
  void take(const ParsedLoadReport& report) { reports.takeInBand(its().id, report); }
  Replica& its() { return replica->get(); }
  void advance(Duration by) {
    clock.advance(by);
    net::runTurn(loop);
  }
  // As a slot would have it now.
  bool gateIsFree() { return clock.now() < cluster.queue().replicas().at(0).gate_free_until; }
  bool leaves() { return cluster.queue().replicas().at(0).leaving; }
  LoadReportStatus status() { return reports.status(its().id).value(); }
  bool metric(const std::string& line) {
    return ("\n" + metrics.render()).find("\n" + line + "\n") != std::string::npos;
  }
  // What has been logged with that message, once it is so much and the log has caught up.
  std::vector<nlohmann::json> logged(const std::string& message, std::size_t count = 1) {
    EXPECT_TRUE(net::turnUntil(loop, [&] { return log.events(message).size() >= count; }));
    const std::string last = "line " + std::to_string(++lines);
    log.logger().info(last);
    EXPECT_TRUE(net::turnUntil(loop, [&] { return !log.events(last).empty(); }));
    return log.events(message);
  }
  // Requests that hold slots.
  struct Holder final : Ticket::Owner {
    explicit Holder(Inbox& inbox) : ticket(inbox, *this) {}
    void onGranted(Slot) override {}
    void onExpired() override {}
    Ticket ticket;
  };
  void holdSlots(int count) {
    for (int i = 0; i < count; ++i) {
      holders.push_back(std::make_unique<Holder>(inbox));
      Admission admission = cluster.queue().acquire(holders.back()->ticket, {});
      slots.push_back(std::move(std::get<Slot>(admission)));
    }
  }
  void setTarget(std::uint32_t target) { cluster.queue().setTarget(target); }

  ManualClock clock;
  net::EventLoop loop{clock};
  CapturedLog log;
  int lines = 0;
  Metrics metrics;
  ReportingServer server{loop};
  Cluster cluster{config(), clock, metrics};
  Inbox inbox{cluster.queue(), [] {}};
  LoadReports reports{loop, cluster, {}, log.logger()};
  std::optional<std::reference_wrapper<Replica>> replica;
  std::vector<std::unique_ptr<Holder>> holders;
  std::vector<Slot> slots;
};

TEST_F(LoadReportsTest, AGateIsFreeWhileALaneIsForThreeIntervals) {
  EXPECT_FALSE(gateIsFree()) << "nothing is known";
  take(withGate(1, 0, 2));
  EXPECT_TRUE(gateIsFree());
  advance(LoadReports::kStaleAfter - 1ns);
  EXPECT_TRUE(gateIsFree());
  advance(1ns);
  EXPECT_FALSE(gateIsFree());
  take(withGate(0, 0, 1));
  EXPECT_TRUE(gateIsFree());
  take(withGate(1, 1, 2));
  EXPECT_FALSE(gateIsFree()) << "the free lane is somebody's already";
  take(withGate(0, 0, 1));
  take(withInFlight(0));
  EXPECT_FALSE(gateIsFree()) << "it no longer says so";
}

TEST_F(LoadReportsTest, OneThatDrainsLeavesUntilItSaysOtherwise) {
  LoadReport report;
  report.draining = true;
  take(report);
  EXPECT_TRUE(leaves());
  advance(LoadReports::kLeavingHolds - 1ns);
  EXPECT_TRUE(leaves());
  advance(1ns);
  EXPECT_FALSE(leaves()) << "a lie does not last";
  take(report);
  take(LoadReport());
  EXPECT_FALSE(leaves());
}

TEST_F(LoadReportsTest, AReportThatCannotBeBelievedChangesNothingAndIsCounted) {
  take(withGate(0, 0, 1));
  take(std::unexpected(LoadReportFault::kNotFinite));
  take(std::unexpected(LoadReportFault::kDuplicate));
  EXPECT_TRUE(gateIsFree());
  EXPECT_EQ(status().report, withGate(0, 0, 1));
  EXPECT_EQ(status().rejected, 2u);
  EXPECT_TRUE(metric(R"(penstock_load_reports_total{cluster="m",source="in_band"} 1)"));
  EXPECT_TRUE(metric(R"(penstock_load_reports_rejected_total{cluster="m",reason="not_finite"} 1)"));
  EXPECT_TRUE(metric(R"(penstock_load_reports_rejected_total{cluster="m",reason="duplicate"} 1)"));
  EXPECT_TRUE(metric(R"(penstock_load_reports_rejected_total{cluster="m",reason="syntax"} 0)"));
  const auto told = logged("a replica's load report cannot be believed");
  ASSERT_EQ(told.size(), 1u) << "not each";
  EXPECT_EQ(told[0]["why"], "not_finite");
}

TEST_F(LoadReportsTest, AStreamIsBelievedBeforeWhatAnswersCarry) {
  replica.emplace(addReplica(true));
  EXPECT_EQ(status().source, LoadReportSource::kOwn);
  take(withInFlight(2));
  EXPECT_EQ(status().source, LoadReportSource::kInBand);
  EXPECT_EQ(its().stream_holds_until.load(), TimePoint::min()) << "answers are still asked";
  ASSERT_TRUE(net::turnUntil(loop, [&] { return server.asked(0); }));
  server.subscriber(0).accept();
  server.subscriber(0).sendMessage(toMessage(withInFlight(1)));
  ASSERT_TRUE(net::turnUntil(loop, [&] { return status().source == LoadReportSource::kStream; }));
  take(withInFlight(2));
  EXPECT_EQ(status().report->in_flight, 1u);
  EXPECT_EQ(status().stream_ended, std::nullopt);
  EXPECT_EQ(its().stream_holds_until.load(), clock.now() + LoadReports::kStaleAfter);
  server.subscriber(0).finish("0");
  ASSERT_TRUE(net::turnUntil(loop, [&] { return status().stream_ended.has_value(); }));
  EXPECT_EQ(status().source, LoadReportSource::kStream) << "it holds for a while";
  advance(LoadReports::kStaleAfter);
  EXPECT_EQ(status().source, LoadReportSource::kOwn);
  EXPECT_EQ(status().age, LoadReports::kStaleAfter);
  take(withInFlight(2));
  EXPECT_EQ(status().source, LoadReportSource::kInBand);
  EXPECT_EQ(status().report->in_flight, 2u);
  EXPECT_TRUE(metric(R"(penstock_load_reports_total{cluster="m",source="stream"} 1)"));
  EXPECT_TRUE(
      metric(R"(penstock_load_report_streams_ended_total{cluster="m",reason="finished"} 1)"));
}

TEST_F(LoadReportsTest, TellsOnceWhyThereIsNoStream) {
  replica.emplace(addReplica(true));
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(net::turnUntil(loop, [&] { return server.asked(i); }));
    server.subscriber(i).refuse(200, "12");
    const std::string ended =
        R"(penstock_load_report_streams_ended_total{cluster="m",reason="unimplemented"} )";
    ASSERT_TRUE(net::turnUntil(loop, [&] { return metric(ended + std::to_string(i + 1)); }));
    advance(30s);
  }
  const auto told = logged("no stream of load reports from a replica");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0]["why"], "unimplemented");
  EXPECT_EQ(told[0]["again_in_seconds"], 30);
}

TEST_F(LoadReportsTest, AnEndThatWasAnnouncedIsNoNews) {
  replica.emplace(addReplica(true));
  LoadReport leaving;
  leaving.draining = true;
  ASSERT_TRUE(net::turnUntil(loop, [&] { return server.asked(0); }));
  server.subscriber(0).accept();
  server.subscriber(0).sendMessage(toMessage(leaving));
  server.subscriber(0).finish("0");
  ASSERT_TRUE(net::turnUntil(loop, [&] { return status().stream_ended.has_value(); }));
  EXPECT_TRUE(logged("no stream of load reports from a replica", 0).empty());
}

TEST_F(LoadReportsTest, ALostStreamSaysThatTheProcessThatDrainedIsGone) {
  replica.emplace(addReplica(true));
  LoadReport leaving;
  leaving.draining = true;
  ASSERT_TRUE(net::turnUntil(loop, [&] { return server.asked(0); }));
  server.subscriber(0).accept();
  server.subscriber(0).sendMessage(toMessage(leaving));
  ASSERT_TRUE(net::turnUntil(loop, [&] { return leaves(); }));
  server.hangUp();
  EXPECT_TRUE(net::turnUntil(loop, [&] { return !leaves(); }));
}

TEST_F(LoadReportsTest, OneProcessUnderTwoAddressesIsUsedUnderOne) {
  Replica& second = cluster.queue().addReplica(net::Address::loopback(9));
  reports.add(second, false);
  const auto leaving = [&] {
    const auto replicas = cluster.queue().replicas();
    return std::vector<bool>{replicas.at(0).leaving, replicas.at(1).leaving};
  };
  LoadReport report;
  report.incarnation = 4711;
  take(report);
  reports.takeInBand(second.id, report);
  EXPECT_EQ(leaving(), (std::vector<bool>{false, true}));
  take(report);
  reports.takeInBand(second.id, report);
  EXPECT_EQ(leaving(), (std::vector<bool>{false, true}));
  const auto told = logged("two replicas are one process: only one of the two addresses is used");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0]["address"], second.name);
  report.incarnation = 4712;
  reports.takeInBand(second.id, report);
  EXPECT_EQ(leaving(), (std::vector<bool>{false, false})) << "another process by now";
}

TEST_F(LoadReportsTest, AReportThatTheReplicaWouldTakeMoreEndsItsRefusing) {
  holdSlots(1);
  const auto refuses = [&] { return cluster.queue().replicas().at(0).refusing; };
  slots.at(0).refused();
  LoadReport report = withInFlight(2);
  report.limit = 2;
  take(report);
  EXPECT_TRUE(refuses()) << "it is at its limit";
  report.in_flight = 1;
  report.draining = true;
  take(report);
  EXPECT_TRUE(refuses()) << "it drains";
  report.draining = false;
  take(report);
  EXPECT_FALSE(refuses());
}

TEST_F(LoadReportsTest, WhoIsNotHereIsIgnored) {
  reports.remove(its().id);
  take(withGate(0, 0, 1));
  EXPECT_FALSE(gateIsFree());
  EXPECT_EQ(reports.status(its().id), std::nullopt);
  reports.remove(its().id);
}

TEST_F(LoadReportsTest, MoreInFlightThanTheTargetIsCountedOncePerExcess) {
  take(withInFlight(2));
  EXPECT_EQ(status().target_exceeded, 0u);
  take(withInFlight(3));
  take(withInFlight(4));
  EXPECT_EQ(status().target_exceeded, 1u);
  take(withInFlight(2));
  take(withInFlight(3));
  EXPECT_EQ(status().target_exceeded, 2u);
  EXPECT_TRUE(metric(R"(penstock_cluster_target_exceeded_total{cluster="m"} 2)"));
  const auto told = logged(kExceeds);
  ASSERT_EQ(told.size(), 1u) << "one that goes back and forth does not fill the log";
  EXPECT_EQ(told[0]["in_flight"], 3);
  EXPECT_EQ(told[0]["concurrency_target"], 2);
}

TEST_F(LoadReportsTest, WhatAHigherTargetLetInMayEnd) {
  setTarget(4);
  holdSlots(4);
  take(withInFlight(4));
  setTarget(2);
  for (int i = 0; i < 5; ++i) {
    advance(1s);
    take(withInFlight(4));
  }
  slots.clear();
  take(withInFlight(4));
  advance(999ms);
  take(withInFlight(3));
  EXPECT_EQ(status().target_exceeded, 0u) << "what was true when it was said";
  advance(1ms);
  take(withInFlight(2));
  take(withInFlight(3));
  EXPECT_EQ(status().target_exceeded, 1u) << "from now on it has two at most";
}

TEST_F(LoadReportsTest, ATargetRaisedAndLoweredBetweenTwoReportsCounts) {
  take(withInFlight(2));
  advance(10s);
  setTarget(4);
  reports.noteTarget();
  holdSlots(4);
  setTarget(2);
  reports.noteTarget();
  // They end before the report comes that still has them.
  slots.clear();
  advance(500ms);
  take(withInFlight(4));
  EXPECT_EQ(status().target_exceeded, 0u);
  take(withInFlight(5));
  EXPECT_EQ(status().target_exceeded, 1u) << "more than any target allowed";
  advance(1s);
  take(withInFlight(2));
  take(withInFlight(4));
  EXPECT_EQ(status().target_exceeded, 2u) << "from now on it has two at most";
}

TEST_F(LoadReportsTest, WhatRunsWhenAReplicaBecomesKnownWasAllowed) {
  Replica& late = cluster.queue().addReplica(net::Address::loopback(9));
  cluster.queue().setAvailable(its().id, false);
  cluster.queue().setAvailable(late.id, true);
  setTarget(4);
  holdSlots(4);
  setTarget(2);
  reports.add(late, false);
  slots.clear();
  reports.takeInBand(late.id, withInFlight(4));
  EXPECT_EQ(reports.status(late.id)->target_exceeded, 0u);
}

TEST_F(LoadReportsTest, ALoweredTargetHoldsOneThatIsNotOurRequestsFault) {
  setTarget(4);
  take(withInFlight(4));
  advance(10s);
  setTarget(2);
  take(withInFlight(4));
  EXPECT_EQ(status().target_exceeded, 0u);
  advance(1s);
  take(withInFlight(4));
  EXPECT_EQ(status().target_exceeded, 1u);
}

TEST_F(LoadReportsTest, WarnsOnceOfATargetBelowThePredictConcurrency) {
  take(withGate(0, 0, 2));
  EXPECT_TRUE(logged(kTooLow, 0).empty());
  EXPECT_TRUE(metric(R"(penstock_cluster_predict_concurrency{cluster="m"} 2)"));
  EXPECT_TRUE(metric(R"(penstock_cluster_target_below_predict_concurrency{cluster="m"} 0)"));
  take(withGate(0, 0, 4));
  take(withGate(1, 0, 4));
  EXPECT_EQ(reports.predictConcurrency(), 4u);
  EXPECT_TRUE(metric(R"(penstock_cluster_target_below_predict_concurrency{cluster="m"} 1)"));
  auto told = logged(kTooLow);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0]["concurrency_target"], 2);
  EXPECT_EQ(told[0]["predict_concurrency"], 4);
  advance(10s);
  setTarget(3);
  take(withGate(0, 0, 4));
  EXPECT_EQ(logged(kTooLow, 2).size(), 2u) << "it has changed, and is still too low";
  advance(10s);
  setTarget(4);
  take(withGate(0, 0, 4));
  EXPECT_EQ(logged("the concurrency target is no longer below the predict concurrency").size(), 1u);
  EXPECT_TRUE(metric(R"(penstock_cluster_target_below_predict_concurrency{cluster="m"} 0)"));
}

TEST_F(LoadReportsTest, AReplicaThatIsGoneNoLongerWarns) {
  take(withGate(0, 0, 4));
  reports.remove(its().id);
  EXPECT_EQ(reports.predictConcurrency(), 0u);
  EXPECT_TRUE(metric(R"(penstock_cluster_target_below_predict_concurrency{cluster="m"} 0)"));
}

TEST_F(LoadReportsTest, FiguresAtTheirLimitsAreNoTrouble) {
  take(withGate(1'000'000'000, 1'000'000'000, 1'000'000'000));
  EXPECT_FALSE(gateIsFree());
  take(withGate(0, 0, 0));
  EXPECT_FALSE(gateIsFree());
}

}  // namespace
}  // namespace penstock::proxy
