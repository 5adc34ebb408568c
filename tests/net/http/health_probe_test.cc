#include "net/http/health_probe.h"

#include <optional>

#include <gtest/gtest.h>

#include "tests/net/http/fake_replica.h"
#include "tests/support/loop_runner.h"

namespace penstock::http {
namespace {

using namespace std::chrono_literals;

class HealthProbeTest : public ::testing::Test {
 protected:
  HealthProbe::Answer ask(const net::Address& address, const HealthProbe::Settings& settings) {
    std::optional<HealthProbe::Answer> answer;
    int calls = 0;
    std::optional<HealthProbe> probe;
    probe.emplace(loop, address, settings, [&](const HealthProbe::Answer& given) {
      answer = given;
      ++calls;
      probe.reset();
    });
    EXPECT_EQ(calls, 0) << "not from the constructor";
    EXPECT_TRUE(net::runUntil(loop, [&] { return answer.has_value(); }));
    net::runTurn(loop);
    EXPECT_EQ(calls, 1);
    return answer.value_or(HealthProbe::Answer{});
  }
  HealthProbe::Answer ask(const FakeReplica& replica, const HealthProbe::Settings& settings = {}) {
    return ask(replica.address(), settings);
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
};

TEST_F(HealthProbeTest, AsksInHttp2) {
  FakeReplica replica(loop);
  const auto answer = ask(replica, {.path = "/up?x=1"});
  EXPECT_TRUE(answer.healthy());
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.is_sidecar);
  EXPECT_FALSE(answer.speaks_http1);
  EXPECT_EQ(replica.last_protocol, Protocol::kHttp2);
  EXPECT_EQ(replica.last_path, "/up?x=1");
  EXPECT_EQ(replica.last_authority, replica.address().toString());
}

TEST_F(HealthProbeTest, AsksInHttp1WhenToldSo) {
  FakeReplica replica(loop);
  const auto answer =
      ask(replica, {.protocol = UpstreamProtocol::kHttp1, .authority = "model.example"});
  EXPECT_TRUE(answer.healthy());
  EXPECT_EQ(replica.last_protocol, Protocol::kHttp11);
  EXPECT_EQ(replica.last_authority, "model.example");
}

TEST_F(HealthProbeTest, FindsOutThatAReplicaSpeaksHttp1Only) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp1Only);
  const auto answer = ask(replica);
  EXPECT_TRUE(answer.healthy()) << answer.describe();
  EXPECT_TRUE(answer.speaks_http1);
}

TEST_F(HealthProbeTest, FindsOutThatAReplicaIsSilentAboutHttp2) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp1Late);
  const auto answer = ask(replica, {.timeout = 2s});
  EXPECT_TRUE(answer.healthy()) << answer.describe();
  EXPECT_TRUE(answer.speaks_http1);
}

TEST_F(HealthProbeTest, AHangUpIsNoProofThatAReplicaSpeaksHttp1Only) {
  FakeReplica replica(loop);
  replica.hang_ups = 1;
  const auto answer = ask(replica);
  EXPECT_TRUE(answer.healthy()) << answer.describe();
  EXPECT_FALSE(answer.speaks_http1);
  EXPECT_EQ(replica.last_protocol, Protocol::kHttp2);
}

TEST_F(HealthProbeTest, FindsOutThatAReplicaAlwaysHangsUpOnHttp2) {
  FakeReplica replica(loop, FakeReplica::Speaks::kHttp1Only);
  replica.hang_ups = 2;
  const auto answer = ask(replica);
  EXPECT_TRUE(answer.healthy()) << answer.describe();
  EXPECT_TRUE(answer.speaks_http1);
}

TEST_F(HealthProbeTest, KnowsASidecar) {
  FakeReplica replica(loop);
  replica.is_sidecar = true;
  EXPECT_TRUE(ask(replica).is_sidecar);
}

TEST_F(HealthProbeTest, OnlyASuccessIsHealthy) {
  FakeReplica replica(loop);
  for (const auto& [status, healthy] :
       {std::pair{200, true}, {204, true}, {299, true}, {300, false}, {404, false}, {503, false}}) {
    replica.status = status;
    const auto answer = ask(replica);
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer.healthy(), healthy) << status;
    EXPECT_EQ(answer.describe(), "status " + std::to_string(status));
  }
}

TEST_F(HealthProbeTest, TellsThatNobodyListens) {
  FakeReplica replica(loop);
  replica.stopListening();
  const auto answer = ask(replica);
  EXPECT_FALSE(answer.healthy());
  EXPECT_EQ(answer.status, 0);
  EXPECT_EQ(answer.describe(), "connect_failed: Connection refused");
}

TEST_F(HealthProbeTest, GivesUpOnAReplicaThatIsSilent) {
  FakeReplica replica(loop, FakeReplica::Speaks::kNothing);
  const auto answer = ask(replica, {.timeout = 50ms});
  EXPECT_FALSE(answer.healthy());
  EXPECT_EQ(answer.describe(), "timeout");
}

TEST_F(HealthProbeTest, GivesUpOnAnAnswerThatDoesNotEnd) {
  FakeReplica replica(loop);
  replica.ends_answer = false;
  const auto answer = ask(replica, {.timeout = 50ms});
  EXPECT_FALSE(answer.healthy());
  EXPECT_EQ(answer.status, 0);
}

TEST_F(HealthProbeTest, MayBeDestroyedByItsCallbackWhenTheConnectionBreaksInMidAnswer) {
  for (const auto protocol : {http::UpstreamProtocol::kHttp2, http::UpstreamProtocol::kHttp1}) {
    FakeReplica replica(loop);
    replica.ends_answer = false;
    std::optional<HealthProbe::Answer> answer;
    std::optional<HealthProbe> probe;
    probe.emplace(loop, replica.address(), HealthProbe::Settings{.protocol = protocol},
                  [&](const HealthProbe::Answer& given) {
                    answer = given;
                    probe.reset();
                  });
    ASSERT_TRUE(net::runUntil(loop, [&] { return replica.asked == 1; }));
    replica.hangUp();
    ASSERT_TRUE(net::runUntil(loop, [&] { return answer.has_value(); }));
    EXPECT_EQ(answer->status, 0);
    EXPECT_FALSE(answer->failure.empty());
  }
}

TEST_F(HealthProbeTest, TellsNobodyWhenItIsDestroyedEarly) {
  FakeReplica replica(loop);
  for (const bool connected : {false, true}) {
    int calls = 0;
    std::optional<HealthProbe> probe;
    replica.ends_answer = false;
    const int before = replica.asked;
    probe.emplace(loop, replica.address(), HealthProbe::Settings{},
                  [&](const HealthProbe::Answer&) { ++calls; });
    if (connected) {
      ASSERT_TRUE(net::runUntil(loop, [&] { return replica.asked > before; }));
    }
    probe.reset();
    net::runTurn(loop);
    EXPECT_EQ(calls, 0);
  }
}

}  // namespace
}  // namespace penstock::http
