#include "proxy/local_reply.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/json_escape.h"

namespace penstock::proxy {
namespace {

using enum http::GrpcStatus;

struct Row {
  Reason reason;
  Outcome outcome;
};

// Where gRPC's own mapping from HTTP statuses (doc/http-grpc-status-mapping.md) says no more than
// UNKNOWN or UNAVAILABLE, the more exact status.
constexpr std::array<Row, kReasons> kTable{{
    {Reason::kNone, {"none", 200, kOk, false, "the replica answered"}},
    {Reason::kQueueFull,
     {"queue_full", 429, kResourceExhausted, true, "too many requests are waiting"}},
    {Reason::kQueueBytesFull,
     {"queue_bytes_full", 429, kResourceExhausted, true,
      "the waiting requests hold too many bytes"}},
    {Reason::kNoReplica, {"no_replica", 503, kUnavailable, true, "no replica is available"}},
    {Reason::kQueueTimeout,
     {"queue_timeout", 503, kUnavailable, true, "no replica became free in time"}},
    {Reason::kDraining, {"draining", 503, kUnavailable, true, "the proxy is going down"}},
    {Reason::kOverloaded,
     {"overloaded", 503, kUnavailable, true, "this is more than can be taken on now"}},
    {Reason::kReplicaRefusedAfterSend,
     {"replica_refused_after_send", 502, kUnavailable, false,
      "the replica refused the request after it had been sent"}},
    {Reason::kReplicaConnectionLost,
     {"replica_connection_lost", 502, kUnavailable, false,
      "the connection to the replica was lost"}},
    {Reason::kReplicaProtocolError,
     {"replica_protocol_error", 502, kUnavailable, false, "the replica broke the protocol"}},
    {Reason::kReplicaStreamFailed,
     {"replica_stream_failed", 502, kInternal, false,
      "the replica ended its answer half-way with an error"}},
    {Reason::kReplicaTimeout,
     {"replica_timeout", 504, kDeadlineExceeded, false, "the replica did not answer in time"}},
    {Reason::kDeadlineExceeded,
     {"deadline_exceeded", 504, kDeadlineExceeded, false,
      "the request's deadline passed while it ran"}},
    {Reason::kBadRequest, {"bad_request", 400, kInternal, false, "the request is malformed"}},
    {Reason::kNotFound, {"not_found", 404, kUnimplemented, false, "no route matches"}},
    {Reason::kMethodNotAllowed,
     {"method_not_allowed", 405, kUnimplemented, false, "this method is not allowed"}},
    {Reason::kRequestTimeout,
     {"request_timeout", 408, kDeadlineExceeded, false, "the request did not come in time"}},
    {Reason::kPayloadTooLarge,
     {"payload_too_large", 413, kResourceExhausted, false, "the request body is too large"}},
    {Reason::kUriTooLong, {"uri_too_long", 414, kInternal, false, "the path is too long"}},
    {Reason::kExpectationFailed,
     {"expectation_failed", 417, kInternal, false, "expect: only 100-continue is understood"}},
    {Reason::kMisdirected,
     {"misdirected", 421, kInternal, false, "this host is not served on this connection"}},
    {Reason::kHeadersTooLarge,
     {"headers_too_large", 431, kResourceExhausted, false, "the request headers are too large"}},
    {Reason::kNotImplemented,
     {"not_implemented", 501, kUnimplemented, false, "this is not implemented"}},
    {Reason::kVersionNotSupported,
     {"version_not_supported", 505, kInternal, false, "this version of HTTP is not supported"}},
    {Reason::kClientGone, {"client_gone", 499, kCancelled, false, "the client went away"}},
}};

constexpr std::string_view kAllowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

constexpr bool inOrder() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].reason) != i) {
      return false;
    }
  }
  return true;
}
static_assert(inOrder(), "the table has one row per reason, in the order of the enumeration");

std::string secondsRoundedUp(Duration duration) {
  using std::chrono::seconds;
  return std::to_string(std::max(seconds(1), std::chrono::ceil<seconds>(duration)).count());
}

LocalReply jsonReply(const Outcome& outcome, std::string_view message) {
  LocalReply reply;
  reply.head.status = outcome.status;
  reply.body = "{\"error\":{\"code\":" + std::to_string(outcome.status) + ",\"message\":";
  appendJsonString(reply.body, message);
  reply.body += "}}";
  reply.head.content_length = reply.body.size();
  reply.head.headers.add("content-type", "application/json");
  return reply;
}

}  // namespace

const Outcome& outcomeOf(Reason reason) {
  const auto index = static_cast<std::size_t>(reason);
  PENSTOCK_CHECK(index < kTable.size(), "every reason has a row");
  return kTable[index].outcome;
}

Reason reasonOf(http::ServerConnection::Rejection rejection) {
  using Rejection = http::ServerConnection::Rejection;
  switch (rejection) {
    case Rejection::kBadRequest:
    case Rejection::kWebSocketVersion:
      return Reason::kBadRequest;
    case Rejection::kMethodNotAllowed:
      return Reason::kMethodNotAllowed;
    case Rejection::kRequestTimeout:
      return Reason::kRequestTimeout;
    case Rejection::kUriTooLong:
      return Reason::kUriTooLong;
    case Rejection::kMisdirected:
      return Reason::kMisdirected;
    case Rejection::kHeadersTooLarge:
      return Reason::kHeadersTooLarge;
    case Rejection::kVersionNotSupported:
      return Reason::kVersionNotSupported;
    case Rejection::kNotImplemented:
      return Reason::kNotImplemented;
  }
  return Reason::kBadRequest;
}

LocalReply makeLocalReply(Reason reason, std::string_view detail, std::string_view request_id,
                          bool is_grpc, Duration retry_after) {
  const Outcome& outcome = outcomeOf(reason);
  const std::string_view message = detail.empty() ? outcome.message : detail;
  LocalReply reply =
      is_grpc ? makeGrpcReply(outcome.grpc_status, message) : jsonReply(outcome, message);
  http::Headers& headers = reply.head.headers;
  headers.add("x-penstock-reason", outcome.name);
  if (!request_id.empty()) {
    headers.add("x-request-id", request_id);
  }
  if (outcome.retry_after) {
    headers.add("retry-after", secondsRoundedUp(retry_after));
  }
  if (reason == Reason::kMethodNotAllowed) {
    headers.add("allow", kAllowed);  // RFC 9110 §15.5.6
  }
  return reply;
}

http::ResponseHead makeOptionsReply() {
  http::ResponseHead head{.status = 200, .headers = {}, .content_length = 0};
  head.headers.add("allow", kAllowed);
  return head;
}

http::Headers makeGrpcTrailers(Reason reason, std::string_view detail) {
  const Outcome& outcome = outcomeOf(reason);
  http::Headers trailers;
  http::addGrpcStatus(trailers, outcome.grpc_status, detail.empty() ? outcome.message : detail);
  trailers.add("x-penstock-reason", outcome.name);
  return trailers;
}

http::GrpcStatus grpcStatusOf(int http_status) {
  switch (http_status) {
    case 404:
    case 405:
    case 501:
      return kUnimplemented;
    case 413:
    case 429:
    case 431:
      return kResourceExhausted;
    case 499:
      return kCancelled;
    case 502:
    case 503:
      return kUnavailable;
    case 408:
    case 504:
      return kDeadlineExceeded;
    default:
      return kInternal;
  }
}

LocalReply makeGrpcReply(http::GrpcStatus status, std::string_view message) {
  LocalReply reply;
  reply.head.status = 200;
  reply.head.headers.add("content-type", http::kGrpcContentType);
  http::addGrpcStatus(reply.head.headers, status, message);
  return reply;
}

}  // namespace penstock::proxy
