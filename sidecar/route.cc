#include "sidecar/route.h"

#include "base/load_report/load_report_message.h"

namespace penstock::sidecar {
namespace {

int hexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

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

std::string decodedPath(std::string_view path) {
  path = withoutQuery(path);
  std::string result;
  result.reserve(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size() && hexDigit(path[i + 1]) >= 0 &&
        hexDigit(path[i + 2]) >= 0) {
      result += static_cast<char>(hexDigit(path[i + 1]) * 16 + hexDigit(path[i + 2]));
      i += 2;
    } else {
      result += path[i];
    }
  }
  return result;
}

std::string routedPath(std::string_view path) {
  std::string result = decodedPath(path);
  if (result.size() > 1 && result.ends_with('/')) {
    result.pop_back();
  }
  return result;
}

bool isPredictPath(std::string_view path) {
  return isPredictRoute(routedPath(path));
}

bool isPredictRoute(std::string_view path) {
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

bool isTrussRoute(std::string_view path) {
  return isPredictRoute(path) || path.starts_with("/v1/models/");
}

std::string_view withoutQuery(std::string_view path) {
  return path.substr(0, path.find('?'));
}

}  // namespace penstock::sidecar
