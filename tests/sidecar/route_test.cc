#include "sidecar/route.h"

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

TEST(Route, KnowsItsPaths) {
  EXPECT_EQ(routeOf("POST", "/predict"), Route::kPredict);
  EXPECT_EQ(routeOf("POST", "/predict?x=1"), Route::kPredict);
  EXPECT_EQ(routeOf("POST", "/v1/models/m:predict"), Route::kPredict);
  EXPECT_EQ(routeOf("POST", "/v1/models/a:b:predict"), Route::kPredict);
  EXPECT_EQ(routeOf("GET", "/health/live"), Route::kLive);
  EXPECT_EQ(routeOf("HEAD", "/health/ready"), Route::kReady);
  EXPECT_EQ(routeOf("GET", "/metrics?"), Route::kMetrics);
  EXPECT_EQ(routeOf("POST", "/penstock/cancel"), Route::kCancel);
}

TEST(Route, KnowsNoOthers) {
  for (const char* path : {"/", "/predict/", "/predictx", "/v1/models/:predict",
                           "/v1/models/a/b:predict", "/v1/models/m", "/health", "/Predict", "*"}) {
    EXPECT_EQ(routeOf("POST", path), Route::kNotFound) << path;
  }
}

TEST(Route, TellsWrongMethodsFromWrongPaths) {
  EXPECT_EQ(routeOf("GET", "/predict"), Route::kMethodNotAllowed);
  EXPECT_EQ(routeOf("PUT", "/v1/models/m:predict"), Route::kMethodNotAllowed);
  EXPECT_EQ(routeOf("POST", "/health/live"), Route::kMethodNotAllowed);
  EXPECT_EQ(allowedMethods("/predict"), "POST");
  EXPECT_EQ(allowedMethods("/metrics"), "GET, HEAD");
}

}  // namespace
}  // namespace penstock::sidecar
