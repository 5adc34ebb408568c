#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model_runtime/outcome.h"
#include "model_runtime/runtime.h"
#include "net/http/headers.h"

namespace penstock::sidecar {

// Why the sidecar itself answers a request without running it, or without its end, or why a
// response that had begun broke off. One table in reply.cc maps each to its status.
enum class Refusal {
  kNotReady,           // 503, not executed
  kDraining,           // 503, not executed
  kConcurrencyLimit,   // 503, not executed
  kOverloaded,         // 503, not executed: too many wait at the gate, or too many bytes are held
  kGateTimeout,        // 503, not executed
  kOutOfDeviceMemory,  // 503, not executed
  kServerUnreachable,  // 503, not executed: the model server takes no connection
  kServerConnectionLost,    // 502
  kServerReset,             // 502: the model server reset this one request
  kServerProtocolError,     // 502
  kResponseFieldsTooLarge,  // 500: the model's header fields are more than the client takes
  kWorkerLost,              // 502: the model's process ended while it ran
  kStreamFailed,            // 500: the model's stream failed half-way
  kStreamStalled,           // 504: the model's stream stood still for too long
  kClientStalled,           // 408: the client reads nothing of its response
  kAnswerUnfit,             // 500: what the model answered cannot be passed on
  kDeadlineExceeded,        // 504
  kCancelled,               // 499
  kBadRequest,              // 400
  kMethodNotAllowed,        // 405
  kRequestTimeout,          // 408
  kNotFound,                // 404
  kTooLarge,                // 413
  kUriTooLong,              // 414
  kMisdirected,             // 421
  kHeadersTooLarge,         // 431
  kNotImplemented,          // 501
  kVersion,                 // 505
};

// A response as a whole.
struct Reply {
  http::ResponseHead head;
  std::string body;
  std::optional<Refusal> refusal{};  // if it is one
  std::string message{};             // a refusal's, for a person
};

// The word for the field x-penstock-reason and for metrics.
std::string_view reasonWord(Refusal refusal);

// content_type: a field value; anything else is left out.
Reply makeReply(int status, std::string_view content_type, std::string body);
// {"error":{"code":…,"message":…}}, with the reason and, where it applies, x-penstock-not-executed.
// message: empty for the usual sentence.
Reply makeRefusal(Refusal refusal, std::string_view message = {});
// A 405. allowed: the methods that there are, e.g. "GET, HEAD".
Reply makeMethodNotAllowed(std::string_view allowed);
// The answer to a request that the runtime has ended.
Reply makeReply(runtime::Outcome outcome);

}  // namespace penstock::sidecar
