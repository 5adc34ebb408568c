// Replicas as real processes: a small server in Python that is ready when a file says so, and shell
// scripts that crash or hang.

#include "proxy/scaling/process_provider.h"

#include <csignal>
#include <filesystem>
#include <memory>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/scaling/static_provider.h"
#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temporary_folder.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers GET with 200 if the file named by the second argument exists, else with 503.
constexpr std::string_view kServer = R"(#!/usr/bin/python3
import http.server, os, signal, sys
host, _, port = sys.argv[1].rpartition(":")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(sys.argv[2]) else 503)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
signal.signal(signal.SIGTERM, lambda *ignored: sys.exit(0))
print("serving", flush=True)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
)";

// A request that has a slot.
struct TakenSlot final : Ticket::Owner {
  explicit TakenSlot(AdmissionQueue& queue) : inbox(queue, [] {}), ticket(inbox, *this) {
    slot = std::get<Slot>(queue.acquire(ticket, {}));
  }
  void onGranted(Slot) override {}
  void onExpired() override {}

  Inbox inbox;
  Ticket ticket;
  Slot slot;
};

class ProcessProviderTest : public ::testing::Test {
 protected:
  ProcessProviderTest() {
    config.name = "m";
    config.protocol = UpstreamProtocol::kHttp1;
    config.health_check = HealthCheckConfig{.interval = 20ms, .timeout = 5s};
  }
  ~ProcessProviderTest() override {
    if (provider != nullptr) {
      stop();
    }
  }

  void start(std::vector<std::string> command) {
    process.command = std::move(command);
    config.replicas = process;
    cluster = std::make_unique<Cluster>(config, clock, metrics);
    health = std::make_unique<ReplicaHealth>(loop, *cluster, nullptr, log.logger());
    provider = std::make_unique<ProcessProvider>(loop, config, ports, *health, metrics,
                                                 log.logger(), policy);
    provider->start();
  }
  void startServer() {
    folder.program("server", kServer);
    start({folder.path("server"), "{address}", folder.path("ready")});
  }
  ReplicaScaler& scaler() { return *provider->scaler(); }
  void becomeReady() { std::ofstream(folder.path("ready")) << "x"; }
  void stop() {
    bool stopped = false;
    provider->stop([&] { stopped = true; });
    EXPECT_FALSE(stopped) << "not from within stop()";
    EXPECT_TRUE(runUntil([&] { return stopped; }));
    provider.reset();
  }
  bool runUntil(const std::function<bool()>& done) { return net::runUntil(loop, done); }
  bool runUntilLogged(const std::string& message, std::size_t count = 1) {
    return runUntil([&] { return log.events(message).size() >= count; });
  }
  std::vector<ReplicaState> states() const {
    std::vector<ReplicaState> result;
    for (const ReplicaStatus& replica : health->replicas()) {
      result.push_back(replica.state);
    }
    return result;
  }
  bool runUntilStates(const std::vector<ReplicaState>& wanted) {
    return runUntil([&] { return states() == wanted; });
  }
  // The nth event with that message; the logger writes a little later than it is told.
  nlohmann::json event(const std::string& message, std::size_t n = 0) {
    EXPECT_TRUE(runUntilLogged(message, n + 1)) << message;
    const auto found = log.events(message);
    return n < found.size() ? found[n] : nlohmann::json::object();
  }
  pid_t startedPid(std::size_t n) { return event("replica started", n).value("pid", 0); }
  static bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

  SteadyClock clock;
  net::EventLoop loop{clock};
  Metrics metrics;
  CapturedLog log;
  TemporaryFolder folder;
  ClusterConfig config;
  ProcessReplicas process;
  RestartPolicy policy{.first = 10ms, .longest = 40ms, .reset_after = 1h};
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<ReplicaHealth> health;
  LoopbackPorts ports;
  std::unique_ptr<ProcessProvider> provider;
};

TEST_F(ProcessProviderTest, UsesAReplicaOnceItSaysThatItIsReady) {
  startServer();
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kStarting));
  ASSERT_TRUE(runUntilLogged("replica output"));
  EXPECT_EQ(event("replica output")["line"], "serving");
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kStarting));
  becomeReady();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  EXPECT_TRUE(cluster->queue().anyAvailable());
}

TEST_F(ProcessProviderTest, StartsAsManyAsAreConfiguredAtAddressesOfTheirOwn) {
  config.autoscaling.min_replicas = 3;
  becomeReady();
  startServer();
  using enum ReplicaState;
  ASSERT_TRUE(runUntilStates({kReady, kReady, kReady}));
  std::set<std::string> addresses;
  for (const ReplicaStatus& replica : health->replicas()) {
    addresses.insert(replica.address.toString());
    EXPECT_TRUE(replica.address.isLoopback());
  }
  EXPECT_EQ(addresses.size(), 3u);
}

TEST_F(ProcessProviderTest, StartsNoneWhereNoneIsAskedFor) {
  config.autoscaling.min_replicas = 0;
  startServer();
  EXPECT_THAT(states(), IsEmpty());
  bool stopped = false;
  provider->stop([&] { stopped = true; });
  EXPECT_TRUE(runUntil([&] { return stopped; }));
  provider.reset();
}

TEST_F(ProcessProviderTest, StartsAndStopsAsItIsTold) {
  config.autoscaling.min_replicas = 0;
  startServer();
  scaler().scaleTo(3);
  EXPECT_EQ(scaler().fleet().starting, 3u);
  becomeReady();
  ASSERT_TRUE(runUntil([&] { return scaler().fleet().ready == 3; }));
  scaler().scaleTo(1);
  EXPECT_EQ(scaler().fleet().size(), 1u) << "those that drain do not count";
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  EXPECT_EQ(event("replica ended", 1)["how"], "exit code 0");
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_replica_start_seconds_count{cluster=\"m\"} 3"));
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_replica_stop_seconds_count{cluster=\"m\"} 2"));
}

TEST_F(ProcessProviderTest, TheIdleReplicaGoesAndABusyOneFinishesFirst) {
  config.autoscaling.min_replicas = 2;
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady, ReplicaState::kReady}));
  TakenSlot taken(cluster->queue());
  const ReplicaId busy = taken.slot.replica().id;
  scaler().scaleTo(1);
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  EXPECT_EQ(health->replicas()[0].incarnation, busy) << "the idle one went";

  scaler().scaleTo(0);
  EXPECT_FALSE(cluster->queue().anyAvailable());
  // Some looks at it later it is still there.
  TimePoint until = clock.now() + 200ms;
  runUntil([&] { return clock.now() >= until; });
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kDraining));
  EXPECT_EQ(log.events("replica ended").size(), 1u);
  taken.slot = {};
  ASSERT_TRUE(runUntilLogged("replica ended", 2));
  ASSERT_TRUE(runUntilStates({}));
}

TEST_F(ProcessProviderTest, OneThatStillDrainsIsTakenBackBeforeAnotherIsStarted) {
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  TakenSlot taken(cluster->queue());
  scaler().scaleTo(0);
  ASSERT_THAT(states(), ElementsAre(ReplicaState::kDraining));
  EXPECT_EQ(scaler().fleet().size(), 0u);

  scaler().scaleTo(1);
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kReady));
  EXPECT_TRUE(cluster->queue().anyAvailable());
  EXPECT_EQ(scaler().fleet().ready, 1u);
  taken.slot = {};
  // It is not stopped when it is idle, and can go again.
  TimePoint until = clock.now() + 200ms;
  runUntil([&] { return clock.now() >= until; });
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kReady));
  scaler().scaleTo(0);
  ASSERT_TRUE(runUntilStates({}));
  EXPECT_EQ(log.events("replica started").size(), 1u);
  EXPECT_EQ(log.events("replica ended").size(), 1u);
}

TEST_F(ProcessProviderTest, TellsHowLongAStartTakes) {
  startServer();
  EXPECT_EQ(scaler().fleet().start_up, Fleet{}.start_up) << "not measured yet";
  becomeReady();
  ASSERT_TRUE(runUntil([&] { return scaler().fleet().ready == 1; }));
  EXPECT_GT(scaler().fleet().start_up, 0ms);
  EXPECT_NE(scaler().fleet().start_up, Fleet{}.start_up);
}

TEST_F(ProcessProviderTest, OneThatDoesNotFinishIsStoppedAfterTheDrainTimeout) {
  process.drain_timeout = 30ms;
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  TakenSlot taken(cluster->queue());
  scaler().scaleTo(0);
  ASSERT_TRUE(runUntilLogged("replica ended"));
}

TEST_F(ProcessProviderTest, OneThatIsNotReadyGoesBeforeOneThatIs) {
  config.autoscaling.min_replicas = 1;
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  const ReplicaId ready = health->replicas()[0].incarnation;
  std::filesystem::remove(folder.path("ready"));
  scaler().scaleTo(2);
  ASSERT_EQ(scaler().fleet().starting, 1u);
  scaler().scaleTo(1);
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  EXPECT_EQ(health->replicas()[0].incarnation, ready);
}

TEST_F(ProcessProviderTest, StopHastensThoseThatDrain) {
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  TakenSlot taken(cluster->queue());
  scaler().scaleTo(0);
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kDraining));
  stop();
  EXPECT_EQ(event("replica ended")["how"], "exit code 0");
}

TEST_F(ProcessProviderTest, ACrashedReplicaComesBackAsANewIncarnation) {
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  const ReplicaId first = health->replicas()[0].incarnation;
  ::kill(startedPid(0), SIGKILL);
  ASSERT_TRUE(runUntilLogged("replica started", 2));
  EXPECT_EQ(event("replica ended")["how"], "signal 9");
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady}));
  EXPECT_NE(health->replicas()[0].incarnation, first);
  EXPECT_FALSE(exists(startedPid(0))) << "no zombie either";
}

TEST_F(ProcessProviderTest, BacksOffLongerEachTimeUpToAMost) {
  policy = {.first = 100ms, .longest = 400ms, .reset_after = 1h};
  const std::string script = folder.program("crash", "#!/bin/sh\nexit 1\n");
  // From before the first start, since who looks on may be late, but never early.
  const TimePoint before = clock.now();
  start({script});
  Duration pauses{};
  std::size_t started = 1;
  for (const Duration pause : {100ms, 200ms, 400ms, 400ms}) {
    ASSERT_TRUE(runUntilLogged("replica started", ++started));
    EXPECT_GE(clock.now() - before, pauses += pause) << started;
  }
}

TEST_F(ProcessProviderTest, BeginsAnewAfterHavingBeenReadyForAWhile) {
  policy = {.first = 50ms, .longest = 1h, .reset_after = 1ns};
  becomeReady();
  startServer();
  // Without the reset the tenth start would be 12.8 seconds away.
  for (std::size_t i = 0; i < 9; ++i) {
    ASSERT_TRUE(runUntilStates({ReplicaState::kReady})) << i;
    ::kill(startedPid(i), SIGKILL);
    ASSERT_TRUE(runUntilLogged("replica started", i + 2)) << i;
  }
}

TEST_F(ProcessProviderTest, TriesAgainWhenTheProgramIsMissing) {
  start({folder.path("later")});
  ASSERT_TRUE(runUntilLogged("replica not started", 2));
  EXPECT_THAT(event("replica not started").value("why", ""), HasSubstr("later"));
  EXPECT_THAT(states(), IsEmpty());
  folder.program("later", "#!/bin/sh\nexec sleep 1000\n");
  ASSERT_TRUE(runUntilLogged("replica started"));
}

TEST_F(ProcessProviderTest, StartsOneAgainThatIsNotReadyInTime) {
  process.start_timeout = 2s;
  start({folder.program("hang", "#!/bin/sh\nexec sleep 1000\n")});
  ASSERT_TRUE(runUntilLogged("replica started", 2));
  EXPECT_EQ(log.events("replica not ready in time").size(), 1u);
  EXPECT_EQ(event("replica ended")["how"], "signal 15");
  EXPECT_FALSE(exists(startedPid(0)));
}

TEST_F(ProcessProviderTest, PutsItsAddressWhereverTheCommandAsksForIt) {
  const std::string script = folder.program("shows", "#!/bin/sh\necho \"$*\"\nexec sleep 1000\n");
  start({script, "--at={address}/x", "{address}", "{other}"});
  ASSERT_TRUE(runUntilLogged("replica output"));
  const std::string address = health->replicas()[0].address.toString();
  EXPECT_EQ(event("replica output")["line"], "--at=" + address + "/x " + address + " {other}");
}

TEST_F(ProcessProviderTest, StopTakesDownAllAndReportsOnce) {
  config.autoscaling.min_replicas = 2;
  becomeReady();
  startServer();
  ASSERT_TRUE(runUntilStates({ReplicaState::kReady, ReplicaState::kReady}));
  int stopped = 0;
  provider->stop([&] { ++stopped; });
  EXPECT_THAT(states(), ElementsAre(ReplicaState::kDraining, ReplicaState::kDraining));
  ASSERT_TRUE(runUntil([&] { return stopped > 0; }));
  EXPECT_EQ(stopped, 1);
  EXPECT_THAT(states(), IsEmpty());
  EXPECT_EQ(event("replica ended", 0)["how"], "exit code 0");
  EXPECT_EQ(event("replica ended", 1)["how"], "exit code 0");
  EXPECT_FALSE(exists(startedPid(0)));
  EXPECT_FALSE(exists(startedPid(1)));
  EXPECT_EQ(log.events("replica started").size(), 2u);
  provider.reset();
}

TEST_F(ProcessProviderTest, OneThatIgnoresSigtermIsKilledAfterTheStopTimeout) {
  process.stop_timeout = 30ms;
  start({folder.program("stubborn",
                        "#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.01; done\n")});
  ASSERT_TRUE(runUntilLogged("replica output"));
  stop();
  EXPECT_EQ(event("replica ended")["how"], "signal 9");
}

TEST_F(ProcessProviderTest, StopsAtOnceWhileItBacksOff) {
  policy = {.first = 1h, .longest = 1h, .reset_after = 1h};
  start({folder.program("crash", "#!/bin/sh\nexit 1\n")});
  ASSERT_TRUE(runUntilLogged("replica ended"));
  stop();
  EXPECT_EQ(log.events("replica started").size(), 1u);
}

TEST_F(ProcessProviderTest, DestroyedWithoutStopItLeavesNoProcess) {
  start({folder.program("stubborn",
                        "#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.01; done\n")});
  ASSERT_TRUE(runUntilLogged("replica output"));
  const pid_t pid = startedPid(0);
  provider.reset();
  EXPECT_FALSE(exists(pid));
}

TEST(StaticProvider, NamesItsReplicasAndHasNothingToStop) {
  const SteadyClock clock;
  net::EventLoop loop(clock);
  Metrics metrics;
  Logger logger({.level = LogLevel::kError, .program = "test"});
  ClusterConfig config;
  config.name = "m";
  Cluster cluster(config, clock, metrics);
  ReplicaHealth health(loop, cluster, nullptr, logger);
  StaticProvider provider(loop, health, {net::Address::loopback(1), net::Address::loopback(2)});
  provider.start();
  ASSERT_EQ(health.replicas().size(), 2u);
  EXPECT_EQ(health.replicas()[1].address.port(), 2);
  bool stopped = false;
  provider.stop([&] { stopped = true; });
  EXPECT_FALSE(stopped);
  EXPECT_TRUE(net::runUntil(loop, [&] { return stopped; }));
}

}  // namespace
}  // namespace penstock::proxy
