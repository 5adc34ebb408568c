#pragma once

#include <string_view>

namespace penstock::sidecar {

enum class Route {
  kPredict,  // POST /predict, /v1/models/{any}:predict
  kLive,     // GET or HEAD /health/live
  kReady,    // GET or HEAD /health/ready
  kMetrics,  // GET or HEAD /metrics
  kCancel,   // POST /penstock/cancel
  kMethodNotAllowed,
  kNotFound,
};

// path: origin form; a query is left out of account.
Route routeOf(std::string_view method, std::string_view path);

// For the field `allow` of a 405.
std::string_view allowedMethods(std::string_view path);

}  // namespace penstock::sidecar
