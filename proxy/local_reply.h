#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/http/grpc.h"
#include "net/http/headers.h"
#include "net/http/server_connection.h"

namespace penstock::proxy {

// Why an exchange ended as it did; kNone: the replica's answer was passed on. Reaches the client
// (x-penstock-reason), the log and the metric under one name.
enum class Reason : std::uint8_t {
  kNone,
  kQueueFull,
  kQueueBytesFull,
  kNoReplica,
  kQueueTimeout,
  kDraining,
  kOverloaded,
  kReplicaRefusedAfterSend,
  kReplicaConnectionLost,
  kReplicaProtocolError,
  kReplicaStreamFailed,
  kReplicaTimeout,
  kDeadlineExceeded,
  kBadRequest,
  kNotFound,
  kMethodNotAllowed,
  kRequestTimeout,
  kPayloadTooLarge,
  kUriTooLong,
  kExpectationFailed,
  kMisdirected,
  kHeadersTooLarge,
  kNotImplemented,
  kVersionNotSupported,
  kClientGone,
};
inline constexpr std::size_t kReasons = static_cast<std::size_t>(Reason::kClientGone) + 1;

// One row of the table of outcomes.
struct Outcome {
  std::string_view name;  // "queue_full"
  int status;             // 429
  http::GrpcStatus grpc_status;
  bool retry_after;          // waiting helps
  std::string_view message;  // for the JSON body, when no detail is given
};
// The only place that maps a reason to what the client sees.
const Outcome& outcomeOf(Reason reason);
// For a request that the codec refuses.
Reason reasonOf(http::ServerConnection::Rejection rejection);

struct LocalReply {
  http::ResponseHead head;
  std::string body;  // empty for gRPC
};
// The whole answer to a request that the proxy answers itself. is_grpc: a trailers-only reply with
// status 200 and the mapped grpc-status. retry_after is rounded up to whole seconds, at least 1,
// and used only where the outcome says so. detail replaces the default message if not empty.
LocalReply makeLocalReply(Reason reason, std::string_view detail, std::string_view request_id,
                          bool is_grpc, Duration retry_after);

// The answer to OPTIONS *: the methods that are passed on.
http::ResponseHead makeOptionsReply();

// The trailers that end a gRPC response which has begun already.
http::Headers makeGrpcTrailers(Reason reason, std::string_view detail);

// What a gRPC client takes an HTTP status for that came without a status of gRPC's own.
http::GrpcStatus grpcStatusOf(int http_status);

// A trailers-only reply with a status of gRPC's own.
LocalReply makeGrpcReply(http::GrpcStatus status, std::string_view message);

}  // namespace penstock::proxy
