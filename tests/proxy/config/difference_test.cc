#include "proxy/config/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proxy/config/config_text.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const std::string kTwo =
    "listeners:\n"
    "  - {name: a, address: 127.0.0.1:81, routes: [{prefix: /, cluster: m}]}\n"
    "  - {name: b, address: 127.0.0.1:82, routes: [{prefix: /, cluster: n}]}\n"
    "clusters:\n"
    "  - {name: m, replicas: {static: [127.0.0.1:1]}}\n"
    "  - {name: n, replicas: {process: {command: [a, '{address}']}}}\n";

TEST(ConfigDifference, IsEmptyForTheSame) {
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), load(kTwo)), IsEmpty());
}

TEST(ConfigDifference, LeavesOutWhatCanChange) {
  Config wanted = load(kTwo);
  wanted.clusters[0].concurrency_target = 5;
  wanted.clusters[0].queue.max_requests = 5;
  wanted.clusters[1].autoscaling.max_replicas = 5;
  std::get<StaticReplicas>(wanted.clusters[0].replicas).addresses = {"127.0.0.1:2"};
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), wanted), IsEmpty());
}

TEST(ConfigDifference, OrderOfClustersAndListenersIsNone) {
  Config wanted = load(kTwo);
  std::swap(wanted.clusters[0], wanted.clusters[1]);
  std::swap(wanted.listeners[0], wanted.listeners[1]);
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), wanted), IsEmpty());
}

TEST(ConfigDifference, NamesEveryOtherKey) {
  Config wanted = load(kTwo);
  wanted.drain_timeout = 5s;
  wanted.admin.token_file = "token";
  wanted.listeners[0].address = "127.0.0.1:83";
  wanted.listeners[1].routes[0].timeout = 5s;
  wanted.clusters[0].health_check.emplace();
  wanted.clusters[0].retry.budget = 5;
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), wanted),
              UnorderedElementsAre("drain_timeout", "admin.token_file", "listeners[a].address",
                                   "listeners[b].routes", "clusters[m].health_check",
                                   "clusters[m].retry.budget"));
}

TEST(ConfigDifference, NamesEveryKeyOfDnsReplicas) {
  const std::string text =
      "listeners: [{name: a, address: 127.0.0.1:81, routes: [{prefix: /, cluster: m}]}]\n"
      "clusters: [{name: m, replicas: {dns: {name: n, port: 1, resolvers: [10.0.0.1]}}}]\n";
  const Config running = load(text);
  Config wanted = running;
  auto& dns = std::get<DnsReplicas>(wanted.clusters[0].replicas);
  dns = {.name = "o",
         .port = 2,
         .family = AddressFamily::kIpv4,
         .resolvers = {"10.0.0.1:54"},
         .min_refresh = 1001ms,
         .max_refresh = 31s,
         .timeout = 6s};
  EXPECT_THAT(keysThatNeedRestart(running, wanted),
              UnorderedElementsAre(
                  "clusters[m].replicas.dns.name", "clusters[m].replicas.dns.port",
                  "clusters[m].replicas.dns.family", "clusters[m].replicas.dns.resolvers",
                  "clusters[m].replicas.dns.min_refresh", "clusters[m].replicas.dns.max_refresh",
                  "clusters[m].replicas.dns.timeout"));
  wanted = running;
  std::get<DnsReplicas>(wanted.clusters[0].replicas).srv = true;
  EXPECT_THAT(keysThatNeedRestart(running, wanted), Contains("clusters[m].replicas.dns.srv"));
}

TEST(ConfigDifference, NamesClustersThatCameOrWent) {
  Config wanted = load(kTwo);
  wanted.clusters[0].name = "other";
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), wanted),
              ElementsAre("clusters[m]", "clusters[other]"));
}

TEST(ConfigDifference, AnotherKindOfReplicasIsOne) {
  Config wanted = load(kTwo);
  wanted.clusters[1].replicas = StaticReplicas{.addresses = {"127.0.0.1:1"}};
  EXPECT_THAT(keysThatNeedRestart(load(kTwo), wanted),
              ElementsAre("clusters[n].replicas.process", "clusters[n].replicas.static"));
}

}  // namespace
}  // namespace penstock::proxy
