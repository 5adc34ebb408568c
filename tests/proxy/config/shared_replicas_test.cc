#include "proxy/config/shared_replicas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SharedReplicas, AreNoneWhereEachClusterHasItsOwn) {
  EXPECT_TRUE(sharedReplicas({}).empty());
  EXPECT_TRUE(sharedReplicas({{.cluster = "a", .replicas = {"x:1", "x:2"}},
                              {.cluster = "b", .replicas = {"x:3"}}})
                  .empty());
}

TEST(SharedReplicas, AreToldOnceForEachGroupOfClusters) {
  const auto shared = sharedReplicas(
      {{.cluster = "a", .concurrency_target = 2, .replicas = {"x:1", "x:2", "x:3", "x:4", "x:5"}},
       {.cluster = "b", .concurrency_target = 3, .replicas = {"x:4", "x:3", "x:2", "x:1"}},
       {.cluster = "c", .concurrency_target = 4, .replicas = {"x:5", "x:6"}}});
  ASSERT_EQ(shared.size(), 2u);
  EXPECT_THAT(shared[0].clusters, ElementsAre("a", "b"));
  EXPECT_THAT(shared[0].warning, HasSubstr("clusters \"a\", \"b\" share x:1, x:2, x:3 and 1 more"));
  EXPECT_THAT(shared[0].warning, HasSubstr("up to 5 requests"));
  EXPECT_THAT(shared[1].clusters, ElementsAre("a", "c"));
  EXPECT_THAT(shared[1].warning, HasSubstr("share x:5:"));
}

TEST(SharedReplicas, OfAConfigurationAreAddressesAndNames) {
  Config config;
  for (const char* name : {"a", "b", "c"}) {
    config.clusters.emplace_back().name = name;
  }
  config.clusters[0].replicas = StaticReplicas{{"10.0.0.1:80"}};
  config.clusters[1].replicas = DnsReplicas{.name = "model", .port = 80, .resolvers = {}};
  config.clusters[2].replicas = ProcessReplicas{};
  const auto replicas = replicasOf(config);
  ASSERT_EQ(replicas.size(), 3u);
  EXPECT_THAT(replicas[0].replicas, ElementsAre("10.0.0.1:80"));
  EXPECT_THAT(replicas[1].replicas, ElementsAre("model:80"));
  EXPECT_TRUE(replicas[2].replicas.empty());
}

}  // namespace
}  // namespace penstock::proxy
