// Replicas behind a name, with a lookup that answers what the test says.

#include "proxy/scaling/dns_provider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

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
    dns.min_refresh = 1s;
    dns.max_refresh = 3s;
    config.replicas = dns;
    cluster.emplace(config, clock, metrics);
    health.emplace(loop, *cluster, nullptr, log.logger());
    auto made = std::make_unique<ScriptedLookup>();
    lookup = made.get();
    provider.emplace(loop, config, std::move(made), *health, metrics, log.logger());
    provider->start();
  }
  void answer(Result<net::FoundAddresses> found) {
    const TimePoint before = clock.now();
    ASSERT_TRUE(net::turnUntil(loop, [&] {
      clock.advance(lookup->done == nullptr ? 10ms : 0ms);
      return lookup->done != nullptr;
    }));
    waited = clock.now() - before;
    std::exchange(lookup->done, nullptr)(std::move(found));
  }
  void answer(const std::vector<std::string>& addresses, Duration ttl = 0s) {
    answerParts({told("A", addresses)}, ttl);
  }
  void answerParts(std::vector<net::FoundAddresses::Answer> parts, Duration ttl = 0s) {
    answer(net::FoundAddresses{.answers = std::move(parts), .ttl = ttl});
  }
  static net::FoundAddresses::Answer told(const std::string& question,
                                          const std::vector<std::string>& texts) {
    std::vector<net::Address> addresses;
    for (const std::string& text : texts) {
      addresses.push_back(net::Address::parse(text).value());
    }
    return {.question = question, .addresses = addresses};
  }
  static net::FoundAddresses::Answer refused(const std::string& question) {
    return {.question = question, .addresses = failure("server failure")};
  }
  void fail() { answer(failure("server failure")); }
  void answerNothing() { answer(std::vector<std::string>{}); }
  double lookups(const std::string& result) const {
    const std::string page = metrics.render();
    const std::string line = "penstock_dns_lookups_total{cluster=\"m\",result=\"" + result + "\"} ";
    const std::size_t at = page.find(line);
    return at == std::string::npos ? -1 : std::stod(page.substr(at + line.size()));
  }
  std::vector<std::string> replicas() const {
    std::vector<std::string> result;
    for (const ReplicaStatus& replica : health->replicas()) {
      result.push_back(replica.address.toString());
    }
    return result;
  }

  ManualClock clock;
  net::EventLoop loop{clock};
  Metrics metrics;
  CapturedLog log;
  ClusterConfig config;
  std::optional<Cluster> cluster;
  std::optional<ReplicaHealth> health;
  ScriptedLookup* lookup = nullptr;
  Duration waited{};  // from one answer to the next question
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
  fail();
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  const auto runUntilLogged = [&](const char* message) {
    return net::turnUntil(loop, [&] { return log.events(message).size() == 1; });
  };
  ASSERT_TRUE(runUntilLogged("name not found out; the last answer holds"));
  fail();
  answer({"127.0.0.1:1"});
  ASSERT_TRUE(runUntilLogged("name found again"));
  EXPECT_EQ(log.events("name not found out; the last answer holds").size(), 1u)
      << "once, however often it fails";
  EXPECT_THAT(metrics.render(),
              HasSubstr("penstock_dns_lookups_total{cluster=\"m\",result=\"failure\"} 2"));
}

TEST_F(DnsProviderTest, NothingIsBelievedTheThirdTime) {
  answer({"127.0.0.1:1"});
  answerNothing();
  answerNothing();
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  answerNothing();
  EXPECT_THAT(replicas(), IsEmpty());
  answer({"127.0.0.1:1"});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
}

TEST_F(DnsProviderTest, AGoodAnswerInBetweenStartsTheCountAnew) {
  answer({"127.0.0.1:1"});
  for (int i = 0; i < 3; ++i) {
    answerNothing();
    answerNothing();
    answer({"127.0.0.1:1"});
  }
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
}

TEST_F(DnsProviderTest, AFailureInBetweenStartsTheCountAnew) {
  answer({"127.0.0.1:1"});
  answerNothing();
  answerNothing();
  fail();
  answerNothing();
  answerNothing();
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  answerParts({told("A", {}), refused("AAAA")});
  answerNothing();
  answerNothing();
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
  answerNothing();
  EXPECT_THAT(replicas(), IsEmpty());
}

TEST_F(DnsProviderTest, AnErrorOfOneFamilyAndNothingOfTheOtherIsNoAnswer) {
  answerParts({told("A", {"127.0.0.1:1"}), told("AAAA", {"[::1]:1"})});
  for (int i = 0; i < 3; ++i) {
    answerParts({refused("A"), told("AAAA", {}), refused("b A")});
  }
  const char* message = "name not found out; the last answer holds";
  ASSERT_TRUE(net::turnUntil(loop, [&] { return log.events(message).size() == 1; }));
  EXPECT_EQ(log.events(message)[0]["why"], "A: server failure; and 1 more");
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1", "[::1]:1"));
  EXPECT_EQ(lookups("failure"), 3);
  EXPECT_EQ(lookups("empty"), 0);
}

TEST_F(DnsProviderTest, AnErrorOfOneFamilyKeepsItsLastGoodAnswer) {
  answerParts({told("A", {"127.0.0.1:1"}), told("AAAA", {"[::1]:1"})});
  answerParts({refused("A"), told("AAAA", {"[::2]:1"})});
  answerParts({refused("A"), told("AAAA", {"[::3]:1"})});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1", "[::3]:1"));
  const char* message = "name found out in part; the last answer holds for the rest";
  ASSERT_TRUE(net::turnUntil(loop, [&] { return log.events(message).size() == 1; }));
  EXPECT_EQ(log.events(message)[0]["why"], "A: server failure");
  answerParts({told("A", {"127.0.0.2:1"}), refused("AAAA")});
  EXPECT_THAT(replicas(), ElementsAre("[::3]:1", "127.0.0.2:1"));
  EXPECT_EQ(lookups("partial"), 3);
  answerParts({told("A", {"127.0.0.2:1"}), told("AAAA", {})});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.2:1"));
  ASSERT_TRUE(net::turnUntil(
      loop, [&] { return log.events("name found out in whole again").size() == 1; }));
  EXPECT_EQ(log.events(message).size(), 1u) << "once, however often it happens";
}

TEST_F(DnsProviderTest, WhatIsNoLongerAskedForGoes) {
  answerParts({told("a:1 A", {"127.0.0.1:1"}), told("b:1 A", {"127.0.0.2:1"})});
  answerParts({refused("a:1 A"), told("c:1 A", {"127.0.0.3:1"})});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1", "127.0.0.3:1"));
}

TEST_F(DnsProviderTest, AnAddressThatSeveralAnswersHaveCountsOnce) {
  answerParts({told("A", {"127.0.0.1:1", "127.0.0.1:1"}), told("AAAA", {"127.0.0.1:1"})});
  EXPECT_THAT(replicas(), ElementsAre("127.0.0.1:1"));
}

TEST_F(DnsProviderTest, TellsOfOtherAddressesEvenIfThereAreAsMany) {
  const auto changes = [&] { return log.events("addresses changed"); };
  answer({"127.0.0.1:1", "127.0.0.2:1"});
  answer({"127.0.0.1:1", "127.0.0.3:1"});
  ASSERT_TRUE(net::turnUntil(loop, [&] { return changes().size() == 2; }));
  EXPECT_EQ(changes()[1]["joined"], 1);
  EXPECT_EQ(changes()[1]["left"], 1);
  answer({"127.0.0.3:1", "127.0.0.1:1"});
  answer({"127.0.0.3:1"});
  ASSERT_TRUE(net::turnUntil(loop, [&] { return changes().size() == 3; }));
  EXPECT_EQ(changes()[2]["left"], 1);
}

TEST_F(DnsProviderTest, AnAnswerHoldsForItsTimeToLiveWithinBounds) {
  for (const auto& [ttl, holds] :
       {std::pair(Duration(1h), 3s), std::pair(Duration(2s), 2s), std::pair(Duration(0s), 1s)}) {
    answer({"127.0.0.1:1"}, ttl);
    answer({"127.0.0.1:1"});
    EXPECT_GE(waited, holds);
    EXPECT_LT(waited, holds + 100ms);
  }
}

TEST_F(DnsProviderTest, EmptyAnswersThatAreBelievedAreNotAllOfOneMoment) {
  answer({"127.0.0.1:1"});
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(replicas().empty());
    answerNothing();
    EXPECT_GE(waited, 1s);
  }
  EXPECT_THAT(replicas(), IsEmpty());
}

TEST_F(DnsProviderTest, AsksAgainEverLaterWhileNobodyCanSay) {
  fail();
  for (const Duration longest : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    fail();
    EXPECT_GE(waited, longest / 2);
    EXPECT_LT(waited, longest + 100ms);
  }
  answer({"127.0.0.1:1"});
  fail();
  fail();
  EXPECT_LT(waited, 1100ms);
}

TEST_F(DnsProviderTest, WhatIsLeftOutIsNamedOnce) {
  const auto leaveOut = [&](std::vector<std::string> refused, bool cut) {
    answer(net::FoundAddresses{
        .answers = {told("A", {"127.0.0.1:1"})}, .refused = std::move(refused), .cut = cut});
  };
  answer({"127.0.0.1:1"});
  EXPECT_EQ(provider->trouble(), "");
  leaveOut({"0.0.0.0:1 (no host)", "[::]:1 (no host)"}, false);
  leaveOut({"0.0.0.0:1 (no host)", "[::]:1 (no host)"}, false);
  EXPECT_EQ(provider->trouble(),
            "the name leads to what can be no replica: 0.0.0.0:1 (no host), [::]:1 (no host)");
  ASSERT_EQ(log.events("addresses left out").size(), 1u);
  EXPECT_EQ(log.events("addresses left out")[0]["why"], provider->trouble());
  leaveOut({}, true);
  EXPECT_EQ(provider->trouble(),
            "the name leads to too many addresses: the first 1000 in order are used");
  answer({"127.0.0.1:1"});
  EXPECT_EQ(provider->trouble(), "");
  EXPECT_EQ(log.events("addresses left out").size(), 2u);
}

TEST_F(DnsProviderTest, StopAsksNoMore) {
  answer({"127.0.0.1:1"});
  bool stopped = false;
  provider->stop([&] { stopped = true; });
  EXPECT_FALSE(stopped) << "not from within stop()";
  EXPECT_TRUE(net::turnUntil(loop, [&] { return stopped; }));
}

}  // namespace
}  // namespace penstock::proxy
