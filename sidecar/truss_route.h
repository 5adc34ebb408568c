#pragma once

#include <expected>
#include <optional>
#include <string_view>

#include "model_runtime/python/python_runtime.h"
#include "net/http/headers.h"

namespace penstock::sidecar {

// What a Truss's server answers, beside the sidecar's own paths.
struct TrussRoute {
  enum class Kind {
    kLive,    // GET /: true
    kReady,   // GET /v1/models/{any}: whether the model is healthy
    kLoaded,  // GET /v1/models/{any}/loaded, /ping
    kSchema,  // GET /v1/models/{any}/schema
    kRun,     // an operation of the model
    kMethodNotAllowed,
    kNotFound,
  };
  Kind kind = Kind::kNotFound;
  runtime::Operation operation = runtime::Operation::kPredict;  // kRun
  std::string_view allowed;                                     // kMethodNotAllowed
};

TrussRoute trussRouteOf(const http::RequestHead& head);

}  // namespace penstock::sidecar
