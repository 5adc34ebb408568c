#include "sidecar/route.h"

namespace penstock::sidecar {
namespace {

Route pathRoute(std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (path == "/predict") {
    return Route::kPredict;
  }
  if (path == "/health/live") {
    return Route::kLive;
  }
  if (path == "/health/ready") {
    return Route::kReady;
  }
  if (path == "/metrics") {
    return Route::kMetrics;
  }
  if (path == "/penstock/cancel") {
    return Route::kCancel;
  }
  constexpr std::string_view kPrefix = "/v1/models/";
  constexpr std::string_view kSuffix = ":predict";
  if (path.starts_with(kPrefix) && path.ends_with(kSuffix)) {
    path.remove_prefix(kPrefix.size());
    if (path.size() > kSuffix.size() && !path.contains('/')) {
      return Route::kPredict;
    }
  }
  return Route::kNotFound;
}

bool isPost(Route route) {
  return route == Route::kPredict || route == Route::kCancel;
}

}  // namespace

Route routeOf(std::string_view method, std::string_view path) {
  const Route route = pathRoute(path);
  if (route == Route::kNotFound) {
    return route;
  }
  const bool fits = isPost(route) ? method == "POST" : method == "GET" || method == "HEAD";
  return fits ? route : Route::kMethodNotAllowed;
}

std::string_view allowedMethods(std::string_view path) {
  return isPost(pathRoute(path)) ? "POST" : "GET, HEAD";
}

}  // namespace penstock::sidecar
