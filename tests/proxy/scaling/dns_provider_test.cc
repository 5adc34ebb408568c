// Replicas behind a name, with a lookup that answers what the test says.

#include "proxy/scaling/dns_provider.h"

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

// Answers when told to.
struct ScriptedLookup final : net::AddressLookup {
  void start(Done then) override {
    ++asked;
    done = std::move(then);
  }

  int asked = 0;
  Done done;
};

class DnsProviderTest : public ::testing::Test {
 protected:
  DnsProviderTest() {
    config.name = "m";
    DnsReplicas dns;
    dns.name = "replicas.test";
    dns.port = 1;
    dns.min_refresh = 1ms;
    dns.max_refresh = 2ms;
    config.replicas = dns;
    cluster.emplace(config, clock, metrics);
    health.emplace(loop, *cluster, nullptr, log.logger());
    auto made = std::make_unique<ScriptedLookup>();
    lookup = made.get();
    provider.emplace(loop, config, std::move(made), *health, metrics, log.logger());
    provider->start();
  }
  void answer(Result<net::FoundAddresses> found) {
    ASSERT_TRUE(net::runUntil(loop, [&] { return lookup->done != nullptr; }));
    std::exchange(lookup->done, nullptr)(std::move(found));
  }
  void answer(const std::vector<std::string>& addresses, Duration ttl = 0s) {
    net::FoundAddresses found{.addresses = {}, .ttl = ttl};
    for (const std::string& address : addresses) {
      found.addresses.push_back(net::Address::parse(address).value());
    }
    answer(std::move(found));
  }
  std::vector<std::string> replicas() const {
    std::vector<std::string> result;
    for (const ReplicaStatus& replica : health->replicas()) {
      result.push_back(replica.address.toString());
    }
    return result;
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  Metrics metrics;
  CapturedLog log;
  ClusterConfig config;
  std::optional<Cluster> cluster;
  std::optional<ReplicaHealth> health;
  ScriptedLookup* lookup = nullptr;
  std::optional<DnsProvider> provider;
};

TEST_F(DnsProviderTest, WhoIsNewJoinsAndWhoIsMissingGoes) {
  answer({"127.0.0.1:1", "127.0.0.2:1"});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1", "127.0.0.2:1"));
  answer({"127.0.0.2:1", "127.0.0.3:1"});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.2:1", "127.0.0.3:1"));
}

TEST_F(DnsProviderTest, OneThatComesBackIsANewIncarnation) {
  answer({"127.0.0.1:1", "127.0.0.2:1"});
  const ReplicaId first = health->replicas()[1].incarnation;
  answer({"127.0.0.1:1"});
  answer({"127.0.0.1:1", "127.0.0.2:1"});
  EXPECT_GT(health->replicas()[1].incarnation, first);
  EXPECT_EQ(health->replicas()[0].incarnation, 1u) << "who stays notices nothing";
}

TEST_F(DnsProviderTest, WhenNobodyCanSayTheLastAnswerHolds) {
  answer({"127.0.0.1:1"});
  answer(failure("server failure"));
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  const auto runUntilLogged = [&](const char* message) {
    return net::runUntil(loop, [&] { return log.events(message).size() == 1; });
  };
  ASSERT_TRUE(runUntilLogged("name not found out; the last answer holds"));
  answer(failure("server failure"));
  answer({"127.0.0.1:1"});
  ASSERT_TRUE(runUntilLogged("name found again"));
  EXPECT_EQ(log.events("name not found out; the last answer holds").size(), 1u)
      << "once, however often it fails";
  EXPECT_THAT(metrics.render(),
              HasSubstr("penstock_dns_lookups_total{cluster=\"m\",result=\"failure\"} 2"));
}

TEST_F(DnsProviderTest, NothingIsBelievedTheThirdTime) {
  answer({"127.0.0.1:1"});
  answer(std::vector<std::string>{});
  answer(std::vector<std::string>{});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  answer(std::vector<std::string>{});
  EXPECT_THAT(replicas(), IsEmpty());
  answer({"127.0.0.1:1"});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
}

TEST_F(DnsProviderTest, AGoodAnswerInBetweenStartsTheCountAnew) {
  answer({"127.0.0.1:1"});
  for (int i = 0; i < 3; ++i) {
    answer(std::vector<std::string>{});
    answer(std::vector<std::string>{});
    answer({"127.0.0.1:1"});
  }
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
}

TEST_F(DnsProviderTest, ALongTimeToLiveIsCutShort) {
  answer({"127.0.0.1:1"}, 1h);
  EXPECT_TRUE(net::runUntil(loop, [&] { return lookup->asked == 2; }));
}

TEST_F(DnsProviderTest, StopAsksNoMore) {
  answer({"127.0.0.1:1"});
  bool stopped = false;
  provider->stop([&] { stopped = true; });
  EXPECT_FALSE(stopped) << "not from within stop()";
  EXPECT_TRUE(net::runUntil(loop, [&] { return stopped; }));
}

}  // namespace
}  // namespace penstock::proxy
