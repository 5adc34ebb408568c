#include "proxy/http/hidden_paths.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

TEST(HiddenPaths, HidesWhatASidecarServesForOthersThanClients) {
  for (const char* path :
       {"/health/live", "/health/ready", "/health/other/thing", "/metrics", "/metrics/",
        "/metrics/more", "/metrics?x=/v1", "/penstock/cancel", "/penstock/whatever",
        "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"}) {
    EXPECT_TRUE(isHiddenPath(path, "/")) << path;
  }
}

TEST(HiddenPaths, LeavesTheServersOwnPathsAlone) {
  for (const char* path : {"/",
                           "*",
                           "",
                           "/health",
                           "/health/",
                           "/health?x",
                           "/healthz",
                           "/healthz/live",
                           "/Health/live",
                           "/METRICS",
                           "/metricsx",
                           "/v1/metrics",
                           "/v1/health/live",
                           "/penstock",
                           "/penstocks/cancel",
                           "/v1/models/m:predict?path=/metrics",
                           "/metrics/../v1",
                           "/metrics%2",
                           "/%6",
                           "/%zzmetrics",
                           "/v1%2Fmetrics",
                           "/grpc.health.v1.Health/Check"}) {
    EXPECT_FALSE(isHiddenPath(path, "/")) << path;
  }
}

TEST(HiddenPaths, ReadsAPathAsAnyServerMight) {
  for (const char* path : {"//metrics",
                           "/./metrics",
                           "/v1/../metrics",
                           "/../metrics",
                           "/metrics/.",
                           "/metrics/x/..",
                           "/health//live",
                           "/health/./live",
                           "///health/x/../ready",
                           "/%6detrics",
                           "/%6Detrics",
                           "/health%2Flive",
                           "/health%2flive",
                           "%2Fmetrics",
                           "/%2e/metrics",
                           "/v1/%2e%2E/metrics",
                           "/v1%2F..%2Fmetrics",
                           "/%256detrics",
                           "/%25256detrics",
                           "/v1/..%252Fmetrics",
                           "/a%2Fb/../metrics",
                           "/a%2Fb/%2e%2e/metrics",
                           "/penstock%2f%63ancel"}) {
    EXPECT_TRUE(isHiddenPath(path, "/")) << path;
  }
}

TEST(HiddenPaths, ARouteNamesThem) {
  EXPECT_FALSE(isHiddenPath("/metrics", "/metrics"));
  EXPECT_FALSE(isHiddenPath("/health/live", "/health"));
  EXPECT_FALSE(isHiddenPath("/health/live", "/health/"));
  EXPECT_FALSE(isHiddenPath("/health/live", "/health/live"));
  EXPECT_FALSE(isHiddenPath("/health/./live", "/health"));
}

TEST(HiddenPaths, ARouteNamesWhatIsBelowItsPrefixOnly) {
  for (const auto& [path, prefix] : {
           std::pair("/health/live/../ready", "/health/live"),
           std::pair("/health/../metrics", "/health/"),
           std::pair("/metrics/../penstock/cancel", "/metrics"),
           std::pair("/metrics%2F..%2Fpenstock/cancel", "/metrics"),
           std::pair("/healthz/../health/live", "/healthz"),
           std::pair("/metrics", "/metric"),
           std::pair("/health/live", "/he"),
           std::pair("/v1/../metrics", "/v1"),
       }) {
    EXPECT_TRUE(isHiddenPath(path, prefix)) << path << " by " << prefix;
  }
}

}  // namespace
}  // namespace penstock::proxy
