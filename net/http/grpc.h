#pragma once

#include <string_view>

#include "net/http/headers.h"

namespace penstock::http {

// https://grpc.io/docs/guides/status-codes/, those that we say.
enum class GrpcStatus : int {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kResourceExhausted = 8,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
};

inline constexpr std::string_view kGrpcContentType = "application/grpc";

// content-type application/grpc or application/grpc+… ("application/grpc-web" is another protocol).
bool isGrpc(const Headers& headers);

// The field "grpc-status", of trailers or of a head that has no body.
void addGrpcStatus(Headers& headers, GrpcStatus status);
// And "grpc-message".
void addGrpcStatus(Headers& headers, GrpcStatus status, std::string_view message);
// Whether that is what the field says.
bool isGrpcStatus(std::string_view text, GrpcStatus status);

}  // namespace penstock::http
