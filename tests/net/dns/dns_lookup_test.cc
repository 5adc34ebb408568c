// Names looked up at a name server of the test's own.

#include "net/dns/dns_lookup.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/dns/name_server.h"
#include "tests/support/loop_runner.h"

namespace penstock::net {
namespace {

using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr int kFormatError = 1;
constexpr int kServerFailure = 2;
constexpr int kRefused = 5;
constexpr int kSilent = -1;

class DnsLookupTest : public ::testing::Test {
 protected:
  DnsLookupTest() {
    ::setenv("LOCALDOMAIN", "first.test second.test", 1);
    ::setenv("RES_OPTIONS", "ndots:1", 1);
  }
  ~DnsLookupTest() override {
    ::unsetenv("LOCALDOMAIN");
    ::unsetenv("RES_OPTIONS");
  }

  Result<FoundAddresses> lookUp(DnsLookup::Options options) {
    options.port = options.srv ? 0 : 80;
    if (options.servers.empty()) {
      options.servers = {server.address()};
    }
    options.timeout = options.timeout == Duration::zero() ? 5s : options.timeout;
    auto made = DnsLookup::make(loop, std::move(options));
    EXPECT_TRUE(made) << made.error().message;
    return again(**made);
  }
  Result<FoundAddresses> again(DnsLookup& lookup) {
    std::optional<Result<FoundAddresses>> result;
    lookup.start([&](Result<FoundAddresses> found) { result = std::move(found); });
    EXPECT_FALSE(result.has_value()) << "later than from start()";
    EXPECT_TRUE(runUntil(loop, [&] { return result.has_value(); }));
    return *result;
  }
  // "question: address address" or "question! why", in order.
  static std::vector<std::string> told(const Result<FoundAddresses>& found) {
    EXPECT_TRUE(found) << found.error().message;
    std::vector<std::string> result;
    for (const FoundAddresses::Answer& answer : found->answers) {
      std::string text = answer.question + (answer.addresses ? ":" : "! ");
      if (answer.addresses) {
        for (const Address& address : *answer.addresses) {
          text += " " + address.toString();
        }
      } else {
        text += answer.addresses.error().message;
      }
      result.push_back(text);
    }
    return result;
  }

  SteadyClock clock;
  EventLoop loop{clock};
  NameServer server{loop};
};

TEST_F(DnsLookupTest, AsksForEachFamilyApart) {
  server.a("m.test", "10.0.0.1");
  server.a("m.test", "10.0.0.2");
  server.aaaa("m.test", "fd00::1");
  EXPECT_THAT(told(lookUp({.name = "m.test."})),
              ElementsAre("m.test. A: 10.0.0.1:80 10.0.0.2:80", "m.test. AAAA: [fd00::1]:80"));
  EXPECT_THAT(server.questions, UnorderedElementsAre(Pair("m.test", kA), Pair("m.test", kAaaa)));
}

TEST_F(DnsLookupTest, AsksForOneFamilyOnly) {
  server.a("m.test", "10.0.0.1");
  server.aaaa("m.test", "fd00::1");
  EXPECT_THAT(told(lookUp({.name = "m.test.", .ipv6 = false})),
              ElementsAre("m.test. A: 10.0.0.1:80"));
  EXPECT_THAT(server.questions, ElementsAre(Pair("m.test", kA)));
  EXPECT_THAT(told(lookUp({.name = "m.test.", .ipv4 = false})),
              ElementsAre("m.test. AAAA: [fd00::1]:80"));
}

TEST_F(DnsLookupTest, AnErrorOfOneFamilyIsNotTheOthers) {
  server.a("m.test", "10.0.0.1");
  server.refused[{"m.test", kAaaa}] = kServerFailure;
  EXPECT_THAT(told(lookUp({.name = "m.test."})),
              ElementsAre("m.test. A: 10.0.0.1:80", HasSubstr("m.test. AAAA! ")));
}

TEST_F(DnsLookupTest, AnErrorAndNothingIsNotNothing) {
  server.srv("m.test", 1, 1, "x.test");  // so that the name is known
  server.refused[{"m.test", kA}] = kServerFailure;
  EXPECT_THAT(told(lookUp({.name = "m.test."})),
              ElementsAre(HasSubstr("m.test. A! "), "m.test. AAAA:"));
}

TEST_F(DnsLookupTest, WhatHasNoAnswerInTimeIsAnErrorAndTheRestHolds) {
  server.a("m.test", "10.0.0.1");
  server.refused[{"m.test", kAaaa}] = kSilent;
  EXPECT_THAT(told(lookUp({.name = "m.test.", .timeout = 1s})),
              ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA! no answer in time"));
}

TEST_F(DnsLookupTest, NoSuchNameIsNothing) {
  EXPECT_THAT(told(lookUp({.name = "m.test."})), ElementsAre("m.test. A:", "m.test. AAAA:"));
  EXPECT_THAT(told(lookUp({.name = "m.test.", .srv = true})), IsEmpty());
}

TEST_F(DnsLookupTest, TellsTheShortestTimeToLive) {
  server.a("m.test", "10.0.0.1", 30);
  server.aaaa("m.test", "fd00::1", 20);
  EXPECT_EQ(lookUp({.name = "m.test."})->ttl, 20s);
  server.srv("s.test", 1, 1, "m.test", 10);
  EXPECT_EQ(lookUp({.name = "s.test.", .srv = true})->ttl, 10s);
  server.records[{"s.test", kSrv}].front().ttl = 40;
  EXPECT_EQ(lookUp({.name = "s.test.", .srv = true})->ttl, 20s);
}

TEST_F(DnsLookupTest, ANameMayBeOneInASearchDomain) {
  server.a("m.second.test", "10.0.0.1");
  EXPECT_THAT(told(lookUp({.name = "m"})), ElementsAre("m A: 10.0.0.1:80", "m AAAA:"));
}

TEST_F(DnsLookupTest, BothFamiliesAreOfTheSameName) {
  server.a("m.first.test", "10.0.0.1");
  server.aaaa("m.second.test", "fd00::1");
  EXPECT_THAT(told(lookUp({.name = "m"})), ElementsAre("m A: 10.0.0.1:80", "m AAAA:"));
  server.records.clear();
  server.aaaa("m.first.test", "fd00::1");
  server.a("m.second.test", "10.0.0.1");
  EXPECT_THAT(told(lookUp({.name = "m"})), ElementsAre("m A:", "m AAAA: [fd00::1]:80"));
}

TEST_F(DnsLookupTest, ANameWithDotsEnoughIsAWholeOneFirst) {
  server.a("m.n", "10.0.0.1");
  server.a("m.n.first.test", "10.0.0.2");
  EXPECT_THAT(told(lookUp({.name = "m.n"})), ElementsAre("m.n A: 10.0.0.1:80", "m.n AAAA:"));
  ::setenv("RES_OPTIONS", "ndots:2", 1);
  EXPECT_THAT(told(lookUp({.name = "m.n"})), ElementsAre("m.n A: 10.0.0.2:80", "m.n AAAA:"));
}

TEST_F(DnsLookupTest, AnErrorUnderAnyNameThatCouldBeMeantIsNotNothing) {
  for (const char* name : {"m.n", "m.n.first.test", "m.n.second.test"}) {
    server.refused = {{{name, kA}, kServerFailure}};
    EXPECT_THAT(told(lookUp({.name = "m.n"})), ElementsAre(HasSubstr("m.n A! "), "m.n AAAA:"))
        << name;
    server.refused = {{{name, kSrv}, kServerFailure}};
    EXPECT_FALSE(lookUp({.name = "m.n", .srv = true})) << name;
  }
  server.refused.clear();
  EXPECT_THAT(told(lookUp({.name = "m.n"})), ElementsAre("m.n A:", "m.n AAAA:"));
  EXPECT_THAT(told(lookUp({.name = "m.n", .srv = true})), IsEmpty());
}

TEST_F(DnsLookupTest, AnErrorDoesNotMakeItAnotherName) {
  auto lookup = DnsLookup::make(
      loop, {.name = "m.n", .port = 80, .servers = {server.address()}, .timeout = 5s});
  server.a("m.n", "10.0.0.1");
  EXPECT_THAT(told(again(**lookup)), ElementsAre("m.n A: 10.0.0.1:80", "m.n AAAA:"));
  server.refused[{"m.n", kA}] = kServerFailure;
  server.aaaa("m.n.first.test", "fd00::1");
  EXPECT_THAT(told(again(**lookup)), ElementsAre(HasSubstr("m.n A! "), "m.n AAAA:"));

  auto services = DnsLookup::make(
      loop, {.name = "s.n", .srv = true, .servers = {server.address()}, .timeout = 5s});
  server.srv("s.n", 1, 1, "x.test");
  server.a("x.test", "10.0.0.1");
  EXPECT_THAT(told(again(**services)), Contains("x.test:1 A: 10.0.0.1:1"));
  server.refused[{"s.n", kSrv}] = kServerFailure;
  server.srv("s.n.first.test", 1, 1, "y.test");
  EXPECT_FALSE(again(**services));
}

TEST_F(DnsLookupTest, ADomainThatNobodyCanSayAnythingAboutIsPassedOver) {
  ::setenv("RES_OPTIONS", "ndots:5", 1);
  for (const int code : {kServerFailure, kRefused, kSilent}) {
    for (const char* name : {"m.n", "m.n.second.test"}) {
      server.records.clear();
      server.a(name, "10.0.0.1");
      server.srv(name, 1, 2, "x.test");
      server.a("x.test", "10.0.0.2");
      for (const std::uint16_t type : {kA, kAaaa, kSrv}) {
        server.refused[{"m.n.first.test", type}] = code;
      }
      EXPECT_THAT(told(lookUp({.name = "m.n", .timeout = 1s})),
                  ElementsAre("m.n A: 10.0.0.1:80", "m.n AAAA:"))
          << name << " " << code;
      EXPECT_THAT(told(lookUp({.name = "m.n", .srv = true, .timeout = 1s})),
                  Contains("x.test:2 A: 10.0.0.2:2"))
          << name << " " << code;
    }
  }
}

TEST_F(DnsLookupTest, DeadServersLeaveTimeForTheOneThatAnswersAndItIsAskedFirst) {
  NameServer dead(loop);
  for (const char* name : {"m", "m.first.test", "m.second.test", "x.test"}) {
    for (const std::uint16_t type : {kA, kAaaa, kSrv}) {
      dead.refused[{name, type}] = kSilent;
    }
  }
  server.a("m.second.test", "10.0.0.1");
  server.srv("m.second.test", 1, 2, "x.test");
  server.a("x.test", "10.0.0.2");
  for (const bool srv : {false, true}) {
    for (const std::size_t number : {1u, 2u}) {
      std::vector<Address> servers(number, dead.address());
      servers.push_back(server.address());
      auto lookup = DnsLookup::make(loop, {.name = "m",
                                           .port = static_cast<std::uint16_t>(srv ? 0 : 80),
                                           .srv = srv,
                                           .servers = servers,
                                           .timeout = 2s});
      const char* wanted = srv ? "x.test:2 A: 10.0.0.2:2" : "m A: 10.0.0.1:80";
      EXPECT_THAT(told(again(**lookup)), Contains(wanted)) << number;
      const std::size_t asked = dead.questions.size();
      EXPECT_GT(asked, 0u);
      EXPECT_THAT(told(again(**lookup)), Contains(wanted)) << number;
      EXPECT_EQ(dead.questions.size(), asked) << number;
      dead.questions.clear();
    }
  }
}

TEST_F(DnsLookupTest, HoweverManyServersAreDeadTheTimeIsEnoughForAll) {
  NameServer dead(loop);
  for (const std::uint16_t type : {kA, kAaaa}) {
    dead.refused[{"m.test", type}] = kSilent;
  }
  server.a("m.test", "10.0.0.1");
  std::vector<Address> servers(4, dead.address());
  servers.push_back(server.address());
  EXPECT_THAT(told(lookUp({.name = "m.test.", .servers = servers, .timeout = 2s})),
              ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA:"));
}

TEST_F(DnsLookupTest, OffersEdnsAndDoesWithoutWhereItIsNotUnderstood) {
  server.a("m.test", "10.0.0.1");
  server.aaaa("m.test", "fd00::1");
  server.srv("s.test", 1, 2, "m.test");
  for (const int code : {0, kFormatError}) {
    server.code_for_edns = code;
    server.edns_questions = 0;
    EXPECT_THAT(told(lookUp({.name = "m.test."})),
                ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA: [fd00::1]:80"))
        << code;
    EXPECT_THAT(told(lookUp({.name = "s.test.", .srv = true})),
                ElementsAre("m.test:2 A: 10.0.0.1:2", "m.test:2 AAAA: [fd00::1]:2"))
        << code;
    EXPECT_GT(server.edns_questions, 0u);
  }
}

TEST_F(DnsLookupTest, TheTimeToLiveOfAnAliasCounts) {
  server.cname("m.test", "n.test", 5);
  server.a("n.test", "10.0.0.1", 30);
  const auto found = lookUp({.name = "m.test."});
  EXPECT_THAT(told(found), ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA:"));
  EXPECT_EQ(found->ttl, 5s);
}

TEST_F(DnsLookupTest, TheHostsFileAndAddressesNeedNoNameServer) {
  const auto loopback = lookUp({.name = "localhost"});
  EXPECT_THAT(told(loopback), Contains("localhost A: 127.0.0.1:80"));
  EXPECT_EQ(loopback->ttl, 0s);
  EXPECT_THAT(told(lookUp({.name = "10.0.0.1"})), Contains("10.0.0.1 A: 10.0.0.1:80"));
  EXPECT_THAT(told(lookUp({.name = "fd00::1"})), Contains("fd00::1 AAAA: [fd00::1]:80"));
  EXPECT_THAT(server.questions, IsEmpty());
}

TEST_F(DnsLookupTest, TargetsOfServicesAreWholeNames) {
  server.srv("s.test", 1, 8080, "x");
  server.srv("s.test", 1, 8081, "y.test");
  server.a("x.first.test", "10.0.0.1");
  server.a("y.test.second.test", "10.0.0.2");
  EXPECT_THAT(
      told(lookUp({.name = "s.test.", .srv = true})),
      UnorderedElementsAre("x:8080 A:", "x:8080 AAAA:", "y.test:8081 A:", "y.test:8081 AAAA:"));
  EXPECT_THAT(server.questions, Not(Contains(Pair("x.first.test", kA))));
}

TEST_F(DnsLookupTest, TargetsOfTheBestPriorityCount) {
  server.srv("s.test", 2, 1, "x.test");
  server.srv("s.test", 1, 2, "x.test");
  server.srv("s.test", 1, 2, "x.test");
  server.a("x.test", "10.0.0.1");
  EXPECT_THAT(told(lookUp({.name = "s.test.", .srv = true})),
              ElementsAre("x.test:2 A: 10.0.0.1:2", "x.test:2 AAAA:"));
}

TEST_F(DnsLookupTest, WhereTheBestHaveNoAddressTheNextPriorityCounts) {
  server.srv("s.test", 3, 3, "z.test");
  server.srv("s.test", 2, 2, "y.test");
  server.srv("s.test", 1, 1, "x.test");
  server.a("y.test", "10.0.0.2");
  server.a("z.test", "10.0.0.3");
  EXPECT_THAT(
      told(lookUp({.name = "s.test.", .srv = true})),
      ElementsAre("x.test:1 A:", "x.test:1 AAAA:", "y.test:2 A: 10.0.0.2:2", "y.test:2 AAAA:"));
  server.refused[{"x.test", kA}] = kServerFailure;
  EXPECT_THAT(told(lookUp({.name = "s.test.", .srv = true})),
              ElementsAre(HasSubstr("x.test:1 A! "), "x.test:1 AAAA:", "y.test:2 A: 10.0.0.2:2",
                          "y.test:2 AAAA:"));
}

TEST_F(DnsLookupTest, LooksUpTargetsSeveralAtATime) {
  // As many as an answer over UDP has room for.
  for (int i = 0; i < 20; ++i) {
    const std::string target = "x" + std::to_string(i);
    server.srv("s.test", 1, 1, target);
    server.a(target, ("10.0.0." + std::to_string(i)).c_str());
  }
  const auto found = lookUp({.name = "s.test.", .srv = true});
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->answers.size(), 40u);
  for (const auto& answer : found->answers) {
    EXPECT_EQ(answer.addresses->size(), answer.question.ends_with(" A") ? 1u : 0u);
  }
  EXPECT_EQ(server.most_at_once, 32u) << "16 targets, each with two questions";
}

TEST_F(DnsLookupTest, TargetsThatItDoesNotGetToAreErrors) {
  // Three times sixteen and some: the time is enough for less than two times.
  for (int i = 0; i < 50; ++i) {
    const std::string target = "x" + std::to_string(i);
    server.srv("s.test", 1, 1, target);
    server.refused[{target, kA}] = kSilent;
  }
  const auto found = lookUp({.name = "s.test.", .srv = true, .timeout = 1s});
  ASSERT_EQ(told(found).size(), 100u);
  for (const std::string& answer : told(found)) {
    EXPECT_THAT(answer, AnyOf(HasSubstr("! no answer in time"), HasSubstr(" AAAA:")));
  }
  EXPECT_THAT(told(found), Contains("x9:1 AAAA! no answer in time"));
}

TEST_F(DnsLookupTest, OneTargetThatNobodyKnowsOfLeavesTheOthers) {
  server.srv("s.test", 1, 1, "x.test");
  server.srv("s.test", 1, 1, "y.test");
  server.a("x.test", "10.0.0.1");
  server.a("y.test", "10.0.0.2");
  server.refused[{"y.test", kA}] = kServerFailure;
  EXPECT_THAT(told(lookUp({.name = "s.test.", .srv = true})),
              UnorderedElementsAre("x.test:1 A: 10.0.0.1:1",
                                   "x.test:1 AAAA:", HasSubstr("y.test:1 A! "), "y.test:1 AAAA:"));
}

TEST_F(DnsLookupTest, WithoutTheServicesNobodyCanSayAnything) {
  server.refused[{"s.test", kSrv}] = kServerFailure;
  EXPECT_FALSE(lookUp({.name = "s.test.", .srv = true}));
  server.refused[{"s.test", kSrv}] = kSilent;
  const auto found = lookUp({.name = "s.test.", .srv = true, .timeout = 1s});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "no answer in time");
}

TEST_F(DnsLookupTest, WhatCanBeNoServersAddressIsLeftOutAndNamed) {
  for (const char* address : {"10.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"}) {
    server.a("m.test", address);
  }
  for (const char* address : {"fd00::1", "::", "fe80::1", "ff02::1", "::ffff:239.0.0.1"}) {
    server.aaaa("m.test", address);
  }
  const auto found = lookUp({.name = "m.test."});
  EXPECT_THAT(told(found), ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA: [fd00::1]:80"));
  EXPECT_THAT(
      found->refused,
      ElementsAre("0.0.0.0:80 (no host)", "224.0.0.1:80 (multicast)", "239.0.0.1:80 (multicast)",
                  "255.255.255.255:80 (broadcast)", "[::]:80 (no host)",
                  "[fe80::1]:80 (of one link)", "[ff02::1]:80 (multicast)"));
  server.srv("s.test", 1, 0, "n.test");
  server.srv("s.test", 2, 1, "n.test");
  server.a("n.test", "10.0.0.1");
  const auto services = lookUp({.name = "s.test.", .srv = true});
  EXPECT_THAT(told(services), Contains("n.test:1 A: 10.0.0.1:1"));
  EXPECT_THAT(services->refused, ElementsAre("10.0.0.1:0 (port 0)"));
}

TEST_F(DnsLookupTest, OfTooManyAddressesTheSameOnesAreTakenInWhateverOrderTheyCome) {
  // As many for each target as an answer over UDP has room for.
  for (int i = 10; i < 40; ++i) {
    const std::string target = "x" + std::to_string(i);
    server.srv("s.test", 1, 1, target);
    for (int j = 0; j < 70; ++j) {
      server.a(target, ("10.0." + std::to_string(i) + "." + std::to_string(100 + j)).c_str());
    }
  }
  for (int round = 0; round < 2; ++round) {
    const auto found = lookUp({.name = "s.test.", .srv = true});
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->cut);
    std::set<std::string> taken;
    for (const auto& answer : found->answers) {
      for (const Address& address : *answer.addresses) {
        taken.insert(address.toString());
      }
    }
    EXPECT_EQ(taken.size(), FoundAddresses::kMaxAddresses);
    EXPECT_EQ(*taken.rbegin(), "10.0.24.119:1");
    // The hosts have each other's addresses now, and those in another order.
    for (int i = 10; i < 25; ++i) {
      auto& mine = server.records[{"x" + std::to_string(i), kA}];
      std::ranges::reverse(mine);
      mine.swap(server.records[{"x" + std::to_string(49 - i), kA}]);
    }
  }
}

TEST_F(DnsLookupTest, LooksUpAgainAndAgain) {
  auto lookup = DnsLookup::make(
      loop, {.name = "m.test.", .port = 80, .servers = {server.address()}, .timeout = 5s});
  server.a("m.test", "10.0.0.1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(told(again(**lookup)), ElementsAre("m.test. A: 10.0.0.1:80", "m.test. AAAA:"));
  }
  server.records.clear();
  EXPECT_THAT(told(again(**lookup)), ElementsAre("m.test. A:", "m.test. AAAA:"));
}

TEST_F(DnsLookupTest, MayBeDestroyedBeforeItHasAnswered) {
  server.refused[{"m.test", kA}] = kSilent;
  auto lookup = DnsLookup::make(
      loop, {.name = "m.test.", .port = 80, .servers = {server.address()}, .timeout = 5s});
  (*lookup)->start([](Result<FoundAddresses>) { FAIL() << "after its end"; });
  ASSERT_TRUE(runUntil(loop, [&] { return !server.questions.empty(); }));
  lookup->reset();
  runTurn(loop);
}

}  // namespace
}  // namespace penstock::net
