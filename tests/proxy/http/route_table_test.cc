#include "proxy/http/route_table.h"

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

class RouteTableTest : public ::testing::Test {
 protected:
  void add(std::string prefix, std::vector<std::string> hosts, std::string cluster) {
    RouteConfig route;
    route.prefix = std::move(prefix);
    route.hosts = std::move(hosts);
    route.cluster = cluster;
    routes_.push_back(route);
    ClusterConfig config;
    config.name = cluster;
    clusters_.push_back(config);
  }
  // The cluster that a request reaches; "-" if none.
  std::string reached(std::string_view authority, std::string_view path) const {
    const RouteTable table(routes_, clusters_);
    const RouteTable::Match match = table.match(authority, path);
    return match.route == nullptr ? "-" : clusters_[match.cluster_index].name;
  }

 private:
  std::vector<RouteConfig> routes_;
  std::vector<ClusterConfig> clusters_;
};

TEST_F(RouteTableTest, FindsNothingWhereNoPrefixMatches) {
  add("/v1", {}, "a");
  EXPECT_EQ(reached("h", "/v2"), "-");
  EXPECT_EQ(reached("h", "/v1/x"), "a");
}

TEST_F(RouteTableTest, PrefersTheLongestPrefixWhateverTheOrder) {
  add("/", {}, "short");
  add("/v1/models", {}, "long");
  add("/v1", {}, "middle");
  EXPECT_EQ(reached("h", "/v1/models/x:predict"), "long");
  EXPECT_EQ(reached("h", "/v1/other"), "middle");
  EXPECT_EQ(reached("h", "/v2"), "short");
}

TEST_F(RouteTableTest, PrefersTheMorePreciseHostBetweenEqualPrefixes) {
  add("/", {}, "any");
  add("/", {"*.example.com"}, "wildcard");
  add("/", {"*.api.example.com"}, "longer_wildcard");
  add("/", {"a.api.example.com"}, "exact");
  EXPECT_EQ(reached("a.api.example.com", "/"), "exact");
  EXPECT_EQ(reached("b.api.example.com", "/"), "longer_wildcard");
  EXPECT_EQ(reached("b.example.com", "/"), "wildcard");
  EXPECT_EQ(reached("example.com", "/"), "any");
}

TEST_F(RouteTableTest, ComparesHostsWithoutCasePortAndFinalDot) {
  add("/", {"Model.Example.com"}, "a");
  add("/", {"[::1]"}, "v6");
  EXPECT_EQ(reached("MODEL.example.COM:8443", "/"), "a");
  EXPECT_EQ(reached("model.example.com.", "/"), "a");
  EXPECT_EQ(reached("[::1]:80", "/"), "v6");
  EXPECT_EQ(reached("model.example.com.evil", "/"), "-");
}

TEST_F(RouteTableTest, AWildcardDoesNotCoverItsOwnParent) {
  add("/", {"*.example.com"}, "a");
  EXPECT_EQ(reached("x.y.example.com", "/"), "a");
  EXPECT_EQ(reached("example.com", "/"), "-");
  EXPECT_EQ(reached("badexample.com", "/"), "-");
}

TEST_F(RouteTableTest, InternalPathsOfSidecarsNeedARouteThatNamesThem) {
  add("/", {}, "all");
  add("/v1/../health/ready", {}, "odd");
  EXPECT_EQ(reached("h", "/metrics"), "-");
  EXPECT_EQ(reached("h", "/v1/../health/ready"), "-");
  EXPECT_EQ(reached("h", "/health"), "all");
  add("/metrics", {"operators.example.com"}, "named");
  EXPECT_EQ(reached("operators.example.com", "/metrics?x=1"), "named");
  EXPECT_EQ(reached("h", "/metrics"), "-");
}

}  // namespace
}  // namespace penstock::proxy
