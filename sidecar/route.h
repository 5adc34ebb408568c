#pragma once

#include <string_view>

namespace penstock::sidecar {

// The paths that every sidecar answers itself, whatever runs its model.
enum class Route {
  kLive,     // GET or HEAD /health/live
  kReady,    // GET or HEAD /health/ready
  kMetrics,  // GET or HEAD /metrics
  kCancel,   // POST /penstock/cancel
  kReports,  // POST: the stream of load reports, over gRPC
  kMethodNotAllowed,
  kModel,  // anything else is the executor's business
};

// path: origin form; a query is left out of account.
Route routeOf(std::string_view method, std::string_view path);

// For the field `allow` of a 405 to one of the paths above.
std::string_view allowedMethods(std::string_view path);

// "/predict", "/v1/models/{any}:predict".
bool isPredictPath(std::string_view path);

// The part of a path before its query.
std::string_view withoutQuery(std::string_view path);

}  // namespace penstock::sidecar
