#pragma once

#include <string_view>

#include "net/http/grpc.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

// The form in which clients of a route expect an error.
enum class ErrorStyle {
  kOwn,        // {"error": {"code": 404, "message": …}}
  kTruss,      // {"error": "…"}, and the fields x-baseten-error-…
  kOpenAi,     // {"error": {"message", "type", "param", "code"}}
  kAnthropic,  // the same, and "type": "error" beside it
  kGrpc,       // a head alone, with grpc-status
};

// path: a routedPath(). kOpenAi or kAnthropic, or else otherwise.
ErrorStyle apiStyleOf(std::string_view path, ErrorStyle otherwise);

http::GrpcStatus grpcStatusOf(Refusal refusal);

// Gives a reply that is a refusal this form; its status stays, but for gRPC, whose errors are 200.
void applyStyle(Reply& reply, ErrorStyle style);

}  // namespace penstock::sidecar
