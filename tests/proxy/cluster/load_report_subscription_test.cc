#include "proxy/cluster/load_report_subscription.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/load_report/load_report_message.h"
#include "tests/net/http/fake_replica.h"
#include "tests/proxy/cluster/reporting_server.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using enum LoadReportsEnd;

std::string message(std::uint32_t in_flight) {
  LoadReport report;
  report.in_flight = in_flight;
  return toMessage(report);
}

// Time stands still but for what a test says: nothing is overdue, and nobody tries again, by luck.
class LoadReportSubscriptionTest : public ::testing::Test, public LoadReportSubscription::Listener {
 protected:
  void subscribe(const LoadReportSubscription::Settings& settings) {
    subscribeTo(server.address(), settings);
  }
  void subscribeTo(const net::Address& address, const LoadReportSubscription::Settings& settings) {
    subscription.emplace(loop, address, settings, *this);
  }
  bool turnUntil(const std::function<bool()>& done) { return net::turnUntil(loop, done); }
  // The nth subscription has been asked for.
  ReportingServer::Subscriber& asked(std::size_t nth = 0) {
    EXPECT_TRUE(turnUntil([&] { return server.asked(nth); }));
    return server.subscriber(nth);
  }
  ReportingServer::Subscriber& accepted(std::size_t nth = 0) {
    asked(nth).accept();
    return server.subscriber(nth);
  }
  bool turnUntilReports(std::size_t count) {
    return turnUntil([&] { return reports.size() >= count; });
  }
  bool turnUntilEnds(std::size_t count) {
    return turnUntil([&] { return ends.size() >= count; });
  }
  void turns(int count) {
    for (int i = 0; i < count; ++i) {
      net::runTurn(loop);
    }
  }

  void onLoadReport(const ParsedLoadReport& report) override { reports.push_back(report); }
  void onLoadReportsEnd(LoadReportsEnd end, Duration pause) override {
    ends.push_back(end);
    pauses.push_back(pause);
  }

  ManualClock clock;
  net::EventLoop loop{clock};
  ReportingServer server{loop};
  std::vector<ParsedLoadReport> reports;
  std::vector<LoadReportsEnd> ends;
  std::vector<Duration> pauses;
  std::optional<LoadReportSubscription> subscription;
};

TEST_F(LoadReportSubscriptionTest, AsksAsGrpcAsks) {
  subscribe({.authority = "model.example", .interval = 250ms});
  const ReportingServer::Subscriber& subscriber = asked();
  EXPECT_EQ(subscriber.head.method, "POST");
  EXPECT_EQ(subscriber.head.path, kLoadReportStreamPath);
  EXPECT_EQ(subscriber.head.authority, "model.example");
  EXPECT_EQ(subscriber.head.headers.get("content-type"), "application/grpc");
  EXPECT_EQ(subscriber.head.headers.get("te"), "trailers");
  EXPECT_EQ(
      parseLoadReportRequest(std::string_view(subscriber.request).substr(http::kGrpcPrefixBytes)),
      Duration(250ms));
}

TEST_F(LoadReportSubscriptionTest, TellsEachReportHoweverTheStreamIsCut) {
  subscribe({});
  ReportingServer::Subscriber& subscriber = accepted();
  net::Buffer three;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    http::appendGrpcMessage(three, message(i));
  }
  const std::string bytes = three.toString();
  for (const char byte : bytes.substr(0, 30)) {
    subscriber.sendBytes(std::string(1, byte));
    net::runTurn(loop);
  }
  subscriber.sendBytes(bytes.substr(30));
  ASSERT_TRUE(turnUntilReports(3));
  for (std::uint32_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(reports[i - 1].has_value());
    EXPECT_EQ(reports[i - 1]->in_flight, i);
  }
  EXPECT_TRUE(ends.empty());
}

TEST_F(LoadReportSubscriptionTest, AReportThatCannotBeBelievedIsToldAndTheNextIsRead) {
  subscribe({});
  ReportingServer::Subscriber& subscriber = accepted();
  subscriber.sendMessage("\xff\xff\xff");
  LoadReport odd;
  odd.mem_utilization = 2;
  subscriber.sendMessage(toMessage(odd));
  subscriber.sendMessage(message(4));
  ASSERT_TRUE(turnUntilReports(3));
  EXPECT_EQ(reports[0].error(), LoadReportFault::kSyntax);
  EXPECT_EQ(reports[1].error(), LoadReportFault::kOutOfRange);
  EXPECT_EQ(reports[2]->in_flight, 4u);
}

TEST_F(LoadReportSubscriptionTest, AMessageLongerThanAnyReportEndsTheStreamBeforeItIsKept) {
  subscribe({});
  accepted().sendMessage(std::string(1 << 20, 'x'));
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kUnreadable));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].error(), LoadReportFault::kTooLong);
}

TEST_F(LoadReportSubscriptionTest, AReplicaThatFloodsIsLeft) {
  subscribe({});
  ReportingServer::Subscriber& subscriber = accepted();
  net::Buffer many;
  for (int i = 0; i < 5000; ++i) {
    http::appendGrpcMessage(many, message(1));
  }
  subscriber.sendBytes(many.toString());
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kTooOften));
  EXPECT_EQ(reports.size(), LoadReportSubscription::kMostReportsPerSecond);
}

TEST_F(LoadReportSubscriptionTest, SubscribesAgainWhenTheReplicaHasFinished) {
  subscribe({});
  ReportingServer::Subscriber& first = accepted();
  first.sendMessage(message(1));
  first.finish("0");
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kFinished));
  turns(20);
  EXPECT_EQ(server.subscriptions(), 1u) << "before the pause is over";
  clock.advance(1s);
  accepted(1).sendMessage(message(2));
  ASSERT_TRUE(turnUntilReports(2));
  EXPECT_EQ(reports[1]->in_flight, 2u);
}

TEST_F(LoadReportSubscriptionTest, EachFailureInARowDoublesThePauseUpToALongest) {
  subscribe({});
  for (std::size_t i = 0; i < 8; ++i) {
    asked(i).refuse(200, "14");
    ASSERT_TRUE(turnUntilEnds(i + 1));
    clock.advance(pauses.back());
  }
  EXPECT_THAT(pauses, ElementsAre(1s, 2s, 4s, 8s, 16s, 30s, 30s, 30s));
  EXPECT_EQ(ends.back(), kRefused);
}

TEST_F(LoadReportSubscriptionTest, AReportFollowedByAnEndAtOnceIsAFailureToo) {
  subscribe({});
  for (std::size_t i = 0; i < 3; ++i) {
    ReportingServer::Subscriber& subscriber = accepted(i);
    subscriber.sendMessage(message(1));
    subscriber.finish("0");
    ASSERT_TRUE(turnUntilEnds(i + 1));
    clock.advance(pauses.back());
  }
  EXPECT_EQ(reports.size(), 3u);
  EXPECT_THAT(pauses, ElementsAre(1s, 2s, 4s));
}

TEST_F(LoadReportSubscriptionTest, AStreamThatHasLastedStartsTheCountAnew) {
  subscribe({});
  for (std::size_t i = 0; i < 2; ++i) {
    asked(i).refuse(200, "14");
    ASSERT_TRUE(turnUntilEnds(i + 1));
    clock.advance(pauses.back());
  }
  ReportingServer::Subscriber& lasting = accepted(2);
  for (std::size_t i = 0; i < 3; ++i) {
    lasting.sendMessage(message(1));
    ASSERT_TRUE(turnUntilReports(i + 1));
    clock.advance(1s);
  }
  server.hangUp();
  ASSERT_TRUE(turnUntilEnds(3));
  EXPECT_THAT(ends, ElementsAre(kRefused, kRefused, kLost));
  EXPECT_THAT(pauses, ElementsAre(1s, 2s, 1s));
}

TEST_F(LoadReportSubscriptionTest, WhereThereIsNoSuchServiceThePauseIsTheLongestAtOnce) {
  subscribe({});
  asked(0).refuse(200, "12");
  ASSERT_TRUE(turnUntilEnds(1));
  clock.advance(30s);
  asked(1).refuse(404);
  ASSERT_TRUE(turnUntilEnds(2));
  clock.advance(30s);
  asked(2).accept("text/html");
  ASSERT_TRUE(turnUntilEnds(3));
  EXPECT_THAT(ends, ElementsAre(kUnimplemented, kUnimplemented, kUnimplemented));
  EXPECT_THAT(pauses, ElementsAre(30s, 30s, 30s));
}

TEST_F(LoadReportSubscriptionTest, AnotherRefusalMayBeOverSoon) {
  subscribe({});
  asked().refuse(503);
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kRefused));
  EXPECT_THAT(pauses, ElementsAre(1s));
}

TEST_F(LoadReportSubscriptionTest, AServerWithoutHttp2HasNoSuchService) {
  http::FakeReplica old(loop, http::FakeReplica::Speaks::kHttp1Only);
  subscribeTo(old.address(), {});
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kUnimplemented));
}

TEST_F(LoadReportSubscriptionTest, NobodyToConnectToIsTriedAgain) {
  http::FakeReplica away(loop);
  away.stopListening();
  subscribeTo(away.address(), {});
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(turnUntilEnds(i + 1));
    clock.advance(pauses.back());
  }
  EXPECT_THAT(ends, ElementsAre(kLost, kLost, kLost));
}

TEST_F(LoadReportSubscriptionTest, TheFirstReportHasADeadlineHoweverFarItCame) {
  subscribe({});
  accepted();
  clock.advance(5s - 1ms);
  turns(20);
  EXPECT_TRUE(ends.empty());
  clock.advance(1ms);
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kSilent));
}

TEST_F(LoadReportSubscriptionTest, AServerThatOnlyAcceptsIsLeft) {
  http::FakeReplica silent(loop, http::FakeReplica::Speaks::kNothing);
  subscribeTo(silent.address(), {});
  ASSERT_TRUE(turnUntil([&] { return silent.connections == 1; }));
  turns(20);
  clock.advance(5s);
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends[0], ::testing::AnyOf(kSilent, kUnimplemented));
}

TEST_F(LoadReportSubscriptionTest, SilenceAfterAReportEndsTheStreamAndNonsenseIsSilence) {
  subscribe({});
  ReportingServer::Subscriber& subscriber = accepted();
  subscriber.sendMessage(message(1));
  ASSERT_TRUE(turnUntilReports(1));
  for (std::size_t i = 0; i < 2; ++i) {
    clock.advance(1s);
    subscriber.sendMessage("\xff");
    ASSERT_TRUE(turnUntilReports(2 + i));
  }
  EXPECT_TRUE(ends.empty());
  clock.advance(1s);
  ASSERT_TRUE(turnUntilEnds(1));
  EXPECT_THAT(ends, ElementsAre(kSilent));
}

TEST_F(LoadReportSubscriptionTest, AnEndThatIsNoneInGrpcIsUnreadable) {
  const std::string_view cut("\0\0\0\0\x05zz", 7);
  subscribe({});
  accepted().sendBytes(cut, true);
  ASSERT_TRUE(turnUntilEnds(1));
  clock.advance(pauses.back());
  ReportingServer::Subscriber& second = accepted(1);
  second.sendBytes(cut);
  second.finish("0");
  ASSERT_TRUE(turnUntilEnds(2));
  clock.advance(pauses.back());
  accepted(2).sendBytes(std::string_view("\x01\0\0\0\x01z", 6));
  ASSERT_TRUE(turnUntilEnds(3));
  EXPECT_THAT(ends, ElementsAre(kUnreadable, kUnreadable, kUnreadable));
  EXPECT_TRUE(reports.empty());
}

TEST_F(LoadReportSubscriptionTest, DestroyingItHangsUp) {
  subscribe({});
  ReportingServer::Subscriber& subscriber = accepted();
  subscriber.sendMessage(message(1));
  ASSERT_TRUE(turnUntilReports(1));
  subscription.reset();
  ASSERT_TRUE(turnUntil([&] { return subscriber.gone; }));
  EXPECT_TRUE(ends.empty());
}

}  // namespace
}  // namespace penstock::proxy
