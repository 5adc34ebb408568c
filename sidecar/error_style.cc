#include "sidecar/error_style.h"

#include <string>

#include "base/json_escape.h"
#include "sidecar/truss_reply.h"

namespace penstock::sidecar {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

std::string_view openAiType(int status) {
  if (status == 429) {
    return "rate_limit_error";
  }
  return status < 500 ? "invalid_request_error" : "server_error";
}

std::string openAiError(const Reply& reply) {
  return R"({"message":)" + quoted(reply.message) + R"(,"type":)" +
         quoted(openAiType(reply.head.status)) + R"(,"param":null,"code":)" +
         quoted(reasonWord(*reply.refusal)) + '}';
}

void setBody(Reply& reply, std::string body) {
  reply.body = std::move(body);
  reply.head.content_length = reply.body.size();
}

void applyGrpc(Reply& reply) {
  reply.head.status = 200;
  reply.head.content_length.reset();
  reply.body.clear();
  reply.head.headers.set("content-type", http::kGrpcContentType);
  http::addGrpcStatus(reply.head.headers, grpcStatusOf(*reply.refusal), reply.message);
}

}  // namespace

ErrorStyle apiStyleOf(std::string_view path, ErrorStyle otherwise) {
  if (!path.starts_with("/v1/") || path.starts_with("/v1/models/") || path == "/v1/websocket") {
    return otherwise;
  }
  const bool messages = path == "/v1/messages" || path.starts_with("/v1/messages/");
  return messages ? ErrorStyle::kAnthropic : ErrorStyle::kOpenAi;
}

http::GrpcStatus grpcStatusOf(Refusal refusal) {
  using enum http::GrpcStatus;
  switch (refusal) {
    case Refusal::kNotReady:
    case Refusal::kDraining:
    case Refusal::kConcurrencyLimit:
    case Refusal::kOverloaded:
    case Refusal::kGateTimeout:
    case Refusal::kServerUnreachable:
    case Refusal::kServerConnectionLost:
    case Refusal::kServerReset:
    case Refusal::kWorkerLost:
      return kUnavailable;
    case Refusal::kOutOfDeviceMemory:
    case Refusal::kTooLarge:
    case Refusal::kUriTooLong:
    case Refusal::kHeadersTooLarge:
      return kResourceExhausted;
    case Refusal::kStreamStalled:
    case Refusal::kDeadlineExceeded:
    case Refusal::kRequestTimeout:
      return kDeadlineExceeded;
    case Refusal::kClientStalled:
    case Refusal::kCancelled:
      return kCancelled;
    case Refusal::kBadRequest:
      return kInvalidArgument;
    case Refusal::kMethodNotAllowed:
    case Refusal::kNotFound:
    case Refusal::kNotImplemented:
      return kUnimplemented;
    case Refusal::kServerProtocolError:
    case Refusal::kResponseFieldsTooLarge:
    case Refusal::kStreamFailed:
    case Refusal::kAnswerUnfit:
    case Refusal::kMisdirected:
    case Refusal::kVersion:
      break;
  }
  return kInternal;
}

void applyStyle(Reply& reply, ErrorStyle style) {
  if (!reply.refusal.has_value()) {
    return;
  }
  switch (style) {
    case ErrorStyle::kOwn:
      return;
    case ErrorStyle::kTruss:
      setBody(reply, R"({"error": )" + quoted(reply.message) + '}');
      addTrussErrorFields(reply.head);
      return;
    case ErrorStyle::kOpenAi:
      setBody(reply, R"({"error":)" + openAiError(reply) + '}');
      return;
    case ErrorStyle::kAnthropic:
      setBody(reply, R"({"type":"error","error":)" + openAiError(reply) + '}');
      return;
    case ErrorStyle::kGrpc:
      applyGrpc(reply);
      return;
  }
}

}  // namespace penstock::sidecar
