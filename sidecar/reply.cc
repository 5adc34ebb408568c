#include "sidecar/reply.h"

#include <utility>

#include "base/check.h"
#include "base/json_escape.h"
#include "net/http/field_rules.h"

namespace penstock::sidecar {
namespace {

using runtime::ErrorKind;
using runtime::Outcome;

struct Row {
  int status;
  bool not_executed;
  std::string_view word;
  std::string_view sentence;
};

Row row(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNotReady:
      return {503, true, "not_ready", "The model is not loaded yet."};
    case Refusal::kDraining:
      return {503, true, "draining", "This replica is about to end."};
    case Refusal::kConcurrencyLimit:
      return {503, true, "concurrency_limit", "This replica has as many requests as it takes."};
    case Refusal::kOverloaded:
      return {503, true, "overloaded", "Too much is waiting here already."};
    case Refusal::kGateTimeout:
      return {503, true, "gate_timeout", "The request waited too long for its turn."};
    case Refusal::kOutOfDeviceMemory:
      return {503, true, "out_of_device_memory", "The device has no memory left for this request."};
    case Refusal::kWorkerLost:
      return {502, false, "worker_lost", "The model's process ended while this request ran."};
    case Refusal::kServerUnreachable:
      return {503, true, "server_unreachable", "The model server takes no connection."};
    case Refusal::kServerConnectionLost:
      return {502, false, "server_connection_lost",
              "The connection to the model server broke before it answered."};
    case Refusal::kServerReset:
      return {502, false, "server_reset", "The model server reset this request."};
    case Refusal::kStreamFailed:
      return {500, false, "stream_failed", "The model's stream failed half-way."};
    case Refusal::kStreamStalled:
      return {504, false, "stream_stalled", "The model's stream stood still for too long."};
    case Refusal::kClientStalled:
      return {408, false, "client_stalled", "The client does not read its response."};
    case Refusal::kAnswerUnfit:
      return {500, false, "answer_unfit", "What the model answered cannot be passed on."};
    case Refusal::kServerProtocolError:
      return {502, false, "server_protocol_error", "The model server's answer is not valid HTTP."};
    case Refusal::kResponseFieldsTooLarge:
      return {500, false, "response_fields_too_large",
              "The response's header fields are more than the client takes."};
    case Refusal::kDeadlineExceeded:
      return {504, false, "deadline_exceeded", "The request's deadline has passed."};
    case Refusal::kCancelled:
      return {499, false, "cancelled", "The request was cancelled."};
    case Refusal::kBadRequest:
      return {400, false, "bad_request", "The request cannot be understood."};
    case Refusal::kMethodNotAllowed:
      return {405, false, "method_not_allowed", "This path does not take this method."};
    case Refusal::kRequestTimeout:
      return {408, false, "request_timeout", "The request came too slowly."};
    case Refusal::kNotFound:
      return {404, false, "not_found", "There is nothing here."};
    case Refusal::kTooLarge:
      return {413, false, "body_too_large", "The body is larger than this replica takes."};
    case Refusal::kUriTooLong:
      return {414, false, "uri_too_long", "The path is too long."};
    case Refusal::kMisdirected:
      return {421, false, "misdirected", "The request names two different hosts."};
    case Refusal::kHeadersTooLarge:
      return {431, false, "headers_too_large", "The header fields are too large."};
    case Refusal::kNotImplemented:
      return {501, false, "not_implemented", "The request asks for something unknown."};
    case Refusal::kVersion:
      return {505, false, "version_not_supported", "This version of HTTP is not supported."};
  }
  PENSTOCK_CHECK(false, "every refusal has a row");
}

Reply errorReply(int status, std::string_view reason, std::string_view message) {
  std::string body = "{\"error\":{\"code\":" + std::to_string(status) + ",\"message\":";
  appendJsonString(body, message);
  body += "}}";
  Reply reply = makeReply(status, "application/json", std::move(body));
  reply.head.headers.add("x-penstock-reason", reason);
  return reply;
}

Reply modelError(const runtime::ModelError& error) {
  switch (error.kind) {
    case ErrorKind::kBadInput:
      return errorReply(400, "bad_input", error.message);
    case ErrorKind::kTooLarge:
      return errorReply(413, "input_too_large", error.message);
    case ErrorKind::kUnsupportedMedia:
      return errorReply(415, "unsupported_media", error.message);
    case ErrorKind::kCancelled:
      return errorReply(499, "cancelled", error.message);
    case ErrorKind::kOverloaded:
      return errorReply(503, "model_overloaded", error.message);
    case ErrorKind::kOutOfDeviceMemory:
      return makeRefusal(Refusal::kOutOfDeviceMemory, error.message);
    case ErrorKind::kInternal:
      break;
  }
  return errorReply(500, "model_error", error.message);
}

}  // namespace

std::string_view reasonWord(Refusal refusal) {
  return row(refusal).word;
}

Reply makeReply(int status, std::string_view content_type, std::string body) {
  Reply reply{.head = {.status = status, .headers = {}, .content_length = body.size()},
              .body = std::move(body)};
  if (!content_type.empty() && http::isFieldValue(content_type)) {
    reply.head.headers.add("content-type", content_type);
  }
  return reply;
}

Reply makeRefusal(Refusal refusal, std::string_view message) {
  const Row the = row(refusal);
  const std::string_view told = message.empty() ? the.sentence : message;
  Reply reply = errorReply(the.status, the.word, told);
  if (the.not_executed) {
    reply.head.headers.add("x-penstock-not-executed", "true");
  }
  reply.refusal = refusal;
  reply.message = told;
  return reply;
}

Reply makeMethodNotAllowed(std::string_view allowed) {
  Reply reply = makeRefusal(Refusal::kMethodNotAllowed);
  reply.head.headers.add("allow", allowed);
  return reply;
}

Reply makeReply(Outcome outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::kSucceeded:
      if (outcome.output.status < 200 || outcome.output.status > 599) {
        return errorReply(500, "model_error", "The model answered with a status that is none.");
      }
      return makeReply(outcome.output.status, outcome.output.content_type,
                       std::move(outcome.output.body));
    case Outcome::Kind::kModelError:
      return modelError(outcome.error);
    case Outcome::Kind::kCancelled:
      return makeRefusal(Refusal::kCancelled);
    case Outcome::Kind::kDeadlineExceeded:
      return makeRefusal(Refusal::kDeadlineExceeded);
    case Outcome::Kind::kGateFull:
      return makeRefusal(Refusal::kOverloaded);
    case Outcome::Kind::kGateTimeout:
      return makeRefusal(Refusal::kGateTimeout);
  }
  PENSTOCK_CHECK(false, "every outcome has an answer");
}

}  // namespace penstock::sidecar
