#include "sidecar/route.h"

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

TEST(Route, KnowsTheSidecarsOwnPaths) {
  EXPECT_EQ(routeOf("GET", "/health/live"), Route::kLive);
  EXPECT_EQ(routeOf("HEAD", "/health/ready"), Route::kReady);
  EXPECT_EQ(routeOf("GET", "/metrics?"), Route::kMetrics);
  EXPECT_EQ(routeOf("POST", "/penstock/cancel"), Route::kCancel);
}

TEST(Route, LeavesAllOthersToTheModel) {
  for (const char* path : {"/", "/predict", "/health", "/health/live/", "*", "/Metrics"}) {
    EXPECT_EQ(routeOf("POST", path), Route::kModel) << path;
  }
}

TEST(Route, TellsWrongMethodsFromWrongPaths) {
  EXPECT_EQ(routeOf("POST", "/health/live"), Route::kMethodNotAllowed);
  EXPECT_EQ(routeOf("GET", "/penstock/cancel"), Route::kMethodNotAllowed);
  EXPECT_EQ(allowedMethods("/penstock/cancel"), "POST");
  EXPECT_EQ(allowedMethods("/metrics"), "GET, HEAD");
}

TEST(Route, KnowsWhatPredicts) {
  for (const char* path :
       {"/predict", "/predict?x=1", "/v1/models/m:predict", "/v1/models/a:b:predict", "/predict/",
        "/predict/?x", "/v1/models/m%3Apredict", "/v1/models/m%3apredict/",
        "/v1/models/%6d:predict", "/%70redict"}) {
    EXPECT_TRUE(isPredictPath(path)) << path;
  }
  for (const char* path :
       {"/", "/predict//", "/predict%", "/predict%2Fx", "/v1/models/a%2Fb:predict",
        "/v1/models/m%253Apredict", "/predictx", "/v1/models/:predict", "/v1/models/a/b:predict",
        "/v1/models/m", "/Predict", "*"}) {
    EXPECT_FALSE(isPredictPath(path)) << path;
  }
}

}  // namespace
}  // namespace penstock::sidecar
