#include "proxy/cluster/health_checker.h"

#include <vector>

#include <gtest/gtest.h>

#include "tests/net/http/fake_replica.h"
#include "tests/support/loop_runner.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

class HealthCheckerTest : public ::testing::Test {
 protected:
  void check(const HealthChecker::Settings& settings) {
    checker.emplace(
        loop, server.address(), settings,
        [this](bool healthy, std::string_view why) {
          verdicts.push_back(healthy);
          last_reason = why;
        },
        [this](TimePoint) { ++passed; }, [this] { ++sidecars_found; });
  }
  bool runUntil(const std::function<bool()>& done) { return net::runUntil(loop, done); }
  bool runUntilVerdicts(std::size_t count) {
    return runUntil([&] { return verdicts.size() >= count; });
  }
  bool runUntilAsked(int more) {
    return runUntil([&, until = server.asked + more] { return server.asked >= until; });
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  http::FakeReplica server{loop};
  std::optional<HealthChecker> checker;
  std::vector<bool> verdicts;
  std::string last_reason;
  int passed = 0;
  int sidecars_found = 0;
};

TEST_F(HealthCheckerTest, OneSuccessIsEnoughAtFirst) {
  check({.interval = 1h, .healthy_threshold = 5});
  ASSERT_TRUE(runUntilVerdicts(1));
  EXPECT_TRUE(verdicts[0]);
  EXPECT_EQ(server.asked, 1);
}

TEST_F(HealthCheckerTest, TellsOnlyChanges) {
  check({.interval = 1ms});
  ASSERT_TRUE(runUntilAsked(5));
  EXPECT_EQ(verdicts, std::vector<bool>{true});
}

TEST_F(HealthCheckerTest, AsManyFailuresInARowAsTheThresholdAreUnhealthy) {
  check({.interval = 1ms, .unhealthy_threshold = 3});
  ASSERT_TRUE(runUntilVerdicts(1));
  server.status = 503;
  const int before = server.asked;
  ASSERT_TRUE(runUntilVerdicts(2));
  EXPECT_FALSE(verdicts[1]);
  EXPECT_EQ(server.asked - before, 3);
  EXPECT_EQ(last_reason, "status 503");
}

TEST_F(HealthCheckerTest, ASuccessInBetweenStartsTheCountAnew) {
  check({.interval = 1ms, .unhealthy_threshold = 2});
  ASSERT_TRUE(runUntilVerdicts(1));
  for (int i = 0; i < 4; ++i) {
    server.status = 503;
    ASSERT_TRUE(runUntilAsked(1));
    server.status = 200;
    ASSERT_TRUE(runUntilAsked(1));
  }
  EXPECT_EQ(verdicts.size(), 1u);
}

TEST_F(HealthCheckerTest, AsManySuccessesInARowAsTheThresholdAreHealthyAgain) {
  check({.interval = 1ms, .unhealthy_threshold = 1, .healthy_threshold = 3});
  ASSERT_TRUE(runUntilVerdicts(1));
  server.status = 503;
  ASSERT_TRUE(runUntilVerdicts(2));
  server.status = 200;
  const int before = server.asked;
  ASSERT_TRUE(runUntilVerdicts(3));
  EXPECT_TRUE(verdicts[2]);
  EXPECT_EQ(server.asked - before, 3);
}

TEST_F(HealthCheckerTest, AReplicaThatNeverAnsweredIsUnhealthyAfterTheThreshold) {
  server.stopListening();
  check({.interval = 1ms, .unhealthy_threshold = 2});
  ASSERT_TRUE(runUntilVerdicts(1));
  EXPECT_FALSE(verdicts[0]);
}

TEST_F(HealthCheckerTest, FailuresOfOneThatStartsAreNoVerdict) {
  server.status = 503;
  check({.interval = 1ms, .unhealthy_threshold = 1, .starting = true});
  ASSERT_TRUE(runUntilAsked(5));
  EXPECT_TRUE(verdicts.empty());
  server.status = 200;
  ASSERT_TRUE(runUntilVerdicts(1));
  EXPECT_TRUE(verdicts[0]);
  server.status = 503;
  ASSERT_TRUE(runUntilVerdicts(2));
  EXPECT_FALSE(verdicts[1]) << "once it has started it is like any other";
}

TEST_F(HealthCheckerTest, AsksOneThatStartsMoreOftenThanTheInterval) {
  server.status = 503;
  check({.interval = 1h, .starting = true});
  EXPECT_TRUE(runUntilAsked(4));
}

TEST_F(HealthCheckerTest, TellsThatAReplicaIsASidecarWhateverItsHealth) {
  check({.interval = 1ms, .starting = true});
  server.status = 503;
  ASSERT_TRUE(runUntilAsked(2));
  EXPECT_EQ(sidecars_found, 0);
  server.is_sidecar = true;
  EXPECT_TRUE(runUntil([&] { return sidecars_found > 0; }));
}

TEST_F(HealthCheckerTest, ReportsEachCheckThatIsPassedAndNoOther) {
  check({.interval = 1ms, .unhealthy_threshold = 1000});
  ASSERT_TRUE(runUntil([&] { return passed >= 3; }));
  server.status = 503;
  ASSERT_TRUE(runUntilAsked(1));
  const int before = passed;
  ASSERT_TRUE(runUntilAsked(3));
  EXPECT_LE(passed, before + 1) << "one may have been answered already";
  EXPECT_EQ(verdicts, std::vector<bool>{true});
}

TEST_F(HealthCheckerTest, RemembersThatAReplicaSpeaksHttp1) {
  http::FakeReplica old(loop, http::FakeReplica::Speaks::kHttp1Only);
  HealthChecker other(
      loop, old.address(), {.interval = 1ms}, [](bool, std::string_view) {}, [](TimePoint) {},
      [] {});
  ASSERT_TRUE(runUntil([&] { return old.asked >= 4; }));
  EXPECT_LE(old.connections, old.asked + 2) << "HTTP/2 is tried once, not each time";
}

TEST_F(HealthCheckerTest, AsksNoMoreOnceDestroyed) {
  check({.interval = 1ms});
  ASSERT_TRUE(runUntilVerdicts(1));
  checker.reset();
  const int before = server.connections;
  const TimePoint until = clock.now() + 20ms;
  ASSERT_TRUE(runUntil([&] { return clock.now() >= until; }));
  EXPECT_LE(server.connections, before + 1);
}

}  // namespace
}  // namespace penstock::proxy
