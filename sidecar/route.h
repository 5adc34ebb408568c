#pragma once

#include <string>
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

// "/predict", "/v1/models/{any}:predict", in any of the ways that a client writes them.
bool isPredictPath(std::string_view path);
// The same of a routedPath().
bool isPredictRoute(std::string_view path);

// These, and "/v1/models/{any}" with anything after it. path: a routedPath().
bool isTrussRoute(std::string_view path);

// A path as model servers look at it: percent-decoded, without its query.
std::string decodedPath(std::string_view path);
// The same without a slash at its end.
std::string routedPath(std::string_view path);

// The part of a path before its query.
std::string_view withoutQuery(std::string_view path);

}  // namespace penstock::sidecar
