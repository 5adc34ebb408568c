#include "sidecar/route.h"

#include "base/load_report/load_report_message.h"

namespace penstock::sidecar {
namespace {

Route pathRoute(std::string_view path) {
  path = withoutQuery(path);
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
  if (path == kLoadReportStreamPath) {
    return Route::kReports;
  }
  return Route::kModel;
}

}  // namespace

Route routeOf(std::string_view method, std::string_view path) {
  const Route route = pathRoute(path);
  if (route == Route::kModel) {
    return route;
  }
  const bool fits =
      allowedMethods(path) == "POST" ? method == "POST" : method == "GET" || method == "HEAD";
  return fits ? route : Route::kMethodNotAllowed;
}

std::string_view allowedMethods(std::string_view path) {
  const Route route = pathRoute(path);
  return route == Route::kCancel || route == Route::kReports ? "POST" : "GET, HEAD";
}

bool isPredictPath(std::string_view path) {
  path = withoutQuery(path);
  if (path == "/predict") {
    return true;
  }
  constexpr std::string_view kPrefix = "/v1/models/";
  constexpr std::string_view kSuffix = ":predict";
  if (!path.starts_with(kPrefix) || !path.ends_with(kSuffix)) {
    return false;
  }
  path.remove_prefix(kPrefix.size());
  return path.size() > kSuffix.size() && !path.contains('/');
}

std::string_view withoutQuery(std::string_view path) {
  return path.substr(0, path.find('?'));
}

}  // namespace penstock::sidecar
