// What the worker says about requests, and about its health. Each of the first returns what was
// wrong with the frame, or nothing.

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "model_runtime/python/body_file.h"
#include "model_runtime/python/python_request.h"
#include "model_runtime/python/python_runtime.h"

namespace penstock::runtime {
namespace {

// The worker's times are not to be trusted with more than the past.
TimePoint pastTime(std::int64_t nanoseconds, const Clock& clock) {
  return std::min(TimePoint(Duration(nanoseconds)), clock.now());
}

// [[name, value], …]; nothing if it is something else.
std::optional<PythonRuntime::Fields> parseFields(std::string_view json) {
  PythonRuntime::Fields fields;
  if (json.empty()) {
    return fields;
  }
  auto list = nlohmann::json::parse(json, nullptr, false);
  if (!list.is_array()) {
    return std::nullopt;
  }
  for (auto& field : list) {
    if (!field.is_array() || field.size() != 2 || !field[0].is_string() || !field[1].is_string()) {
      return std::nullopt;
    }
    fields.emplace_back(std::move(field[0].get_ref<std::string&>()),
                        std::move(field[1].get_ref<std::string&>()));
  }
  return fields;
}

bool isFinalStatus(int status) {
  return status >= 200 && status <= 599;
}

}  // namespace

std::string PythonRuntime::onWorkerFrame(Frame& frame) {
  if (frame.type == FrameType::kHealthy) {
    return onHealthy(frame);
  }
  const auto at = requests_.find(frame.id);
  if (at == requests_.end() || !at->second->sent) {
    return "it spoke of request " + std::to_string(frame.id) + ", which it does not have";
  }
  return onRequestFrame(frame, *at->second);
}

std::string PythonRuntime::onRequestFrame(Frame& frame, Request& request) {
  const PayloadReader payload(frame.payload);
  switch (frame.type) {
    case FrameType::kReady:
      return onReady(request, payload);
    case FrameType::kStarted:
      return onStarted(request, payload);
    case FrameType::kEnded:
      return onEnded(request, payload);
    case FrameType::kHead:
      return onHead(request, payload);
    case FrameType::kChunk:
      return onChunk(request, frame);
    case FrameType::kDone:
      return onDone(request, frame);
    case FrameType::kAccept:
    case FrameType::kSend:
    case FrameType::kClose:
    case FrameType::kReceived:
      return onWebSocketFrame(request, frame);
    default:
      return "it sent a frame of the unknown type " +
             std::to_string(static_cast<unsigned>(frame.type));
  }
}

std::string PythonRuntime::onReady(Request& request, PayloadReader payload) {
  const auto begin = payload.number<std::int64_t>();
  const auto end = payload.number<std::int64_t>();
  if (request.state != Request::State::kPreparing || !payload.ok()) {
    return "it sent a READY that nobody waits for";
  }
  if (begin != 0) {
    metrics_.stageTook(Stage::kPreprocess, Duration(end - begin));
  }
  request.prepared = true;
  --preparing_;
  prepareQueued();
  if (request.end_as.has_value()) {
    // CANCEL is on its way to the worker, whose last word follows.
    request.enter(Request::State::kLeaving);
  } else {
    enterGate(request);
  }
  return {};
}

std::string PythonRuntime::onStarted(Request& request, PayloadReader payload) {
  const TimePoint when = pastTime(payload.number<std::int64_t>(), loop_.clock());
  if (request.state != Request::State::kGranted || !payload.ok()) {
    return "it began a predict that had no permit";
  }
  metrics_.gap(request.permit->begin(when));
  metrics_.stageTook(Stage::kGate, when - request.stage_began);
  request.enter(Request::State::kPredicting, when);
  request.stage_began = when;
  request.begun = true;
  request.submission.body = {};
  return {};
}

std::string PythonRuntime::onEnded(Request& request, PayloadReader payload) {
  const TimePoint reported = pastTime(payload.number<std::int64_t>(), loop_.clock());
  const TimePoint when = std::max(reported, request.stage_began);
  if (request.state != Request::State::kPredicting || !payload.ok()) {
    return "it ended a predict that had not begun";
  }
  metrics_.stageTook(Stage::kPredict, when - request.stage_began);
  request.enter(Request::State::kLeaving, when);
  request.stage_began = when;
  release(request, when);
  return {};
}

std::string PythonRuntime::onHead(Request& request, PayloadReader payload) {
  const int status = payload.number<std::uint16_t>();
  payload.number<std::uint16_t>();
  auto fields = parseFields(payload.bytes(payload.number<std::uint32_t>()));
  if (!payload.ok() || !fields.has_value() || !isFinalStatus(status) || !request.begun ||
      std::exchange(request.streaming, true) ||
      request.submission.operation == Operation::kWebSocket) {
    return "it sent a HEAD that does not fit";
  }
  request.stalled.emplace(loop_, [this, &request] {
    stop(request, End::kStalled);
    request.listener.onStalled();
  });
  request.stalled->armAfter(options_.chunk_timeout);
  if (!request.end_as.has_value()) {
    request.listener.onHead(status, std::move(*fields));
  }
  return {};
}

std::string PythonRuntime::onChunk(Request& request, const Frame& frame) {
  if (!request.streaming || request.submission.operation == Operation::kWebSocket) {
    return "it sent a chunk of a response that has not begun";
  }
  request.stalled->armAfter(options_.chunk_timeout);
  if (request.end_as.has_value()) {
    consumed(request.id, frame.payload.size());
  } else {
    request.listener.onChunk(frame.payload);
  }
  return {};
}

Result<std::string> PythonRuntime::bodyOf(Frame& frame, std::string_view rest) const {
  if (!frame.body.valid()) {
    return std::string(rest);
  }
  return readBodyFile(frame.body, options_.max_response_body);
}

std::string PythonRuntime::onDone(Request& request, Frame& frame) {
  enum Kind : std::uint8_t { kResponse, kFinished, kAborted, kCancelled, kExpired, kTakenBack };
  PayloadReader payload(frame.payload);
  const auto kind = payload.number<std::uint8_t>();
  const auto how = payload.number<std::uint8_t>();
  const int status = payload.number<std::uint16_t>();
  auto fields = parseFields(payload.bytes(payload.number<std::uint32_t>()));
  if (!payload.ok() || !fields.has_value() || kind > kTakenBack ||
      request.state == Request::State::kPredicting ||
      (kind == kResponse && (request.streaming || !isFinalStatus(status))) ||
      ((kind == kFinished || kind == kAborted) && !request.begun)) {
    return "it sent a DONE that does not fit";
  }
  auto body = bodyOf(frame, payload.rest());
  if (!body) {
    return body.error().message;
  }
  if (request.state == Request::State::kEnded) {
    return {};
  }
  if (request.state == Request::State::kPreparing) {
    --preparing_;
    prepareQueued();
  } else if (request.state == Request::State::kWaiting) {
    gate_.leave(request);
    announce();
  } else if (request.permit.has_value()) {
    release(request, loop_.clock().now());
  }
  if (request.begun) {
    metrics_.stageTook(Stage::kPostprocess, loop_.clock().now() - request.stage_began);
  }
  if (kind == kResponse && !request.end_as.has_value()) {
    Outcome outcome{.kind = how == 0 ? Outcome::Kind::kSucceeded : Outcome::Kind::kModelError,
                    .stage = request.begun ? Stage::kPostprocess : Stage::kPreprocess,
                    .output = {},
                    .error = {how == 1 ? ErrorKind::kBadInput : ErrorKind::kInternal, {}}};
    metrics_.ended(outcome);
    std::unique_ptr<Request> owned = take(request);
    owned->listener.onResponse(status, std::move(*fields), std::move(*body));
    loop_.destroyLater(std::move(owned));
    return {};
  }
  // A stream that was cancelled, and came to its end all the same, has been given up already.
  constexpr std::array kEnds{End::kCancelled, End::kFinished,         End::kAborted,
                             End::kCancelled, End::kDeadlineExceeded, End::kCancelled};
  finish(request, request.end_as.value_or(kEnds[kind]));
  return {};
}

std::string PythonRuntime::onWebSocketFrame(Request& request, Frame& frame) {
  if (request.submission.operation != Operation::kWebSocket || !request.begun) {
    return "it sent a WebSocket's frame about something that is none";
  }
  auto& listener = static_cast<WebSocketListener&>(request.listener);
  const bool heard = !request.end_as.has_value();
  PayloadReader payload(frame.payload);
  if (frame.type == FrameType::kAccept) {
    const auto object = nlohmann::json::parse(frame.payload, nullptr, false);
    if (!object.is_object() || std::exchange(request.streaming, true)) {
      return "it sent an ACCEPT that does not fit";
    }
    auto fields = parseFields(object.contains("headers") ? object["headers"].dump() : "");
    const auto protocol = object.find("subprotocol");
    if (!fields.has_value()) {
      return "it sent an ACCEPT with header fields that are none";
    }
    if (heard) {
      listener.onAccept(protocol != object.end() && protocol->is_string()
                            ? protocol->get<std::string>()
                            : std::string(),
                        std::move(*fields));
    }
  } else if (frame.type == FrameType::kSend) {
    const auto opcode = payload.number<std::uint8_t>();
    auto message = bodyOf(frame, payload.rest());
    if (!payload.ok() || !message || !request.streaming) {
      return "it sent a message that does not fit";
    }
    if (heard) {
      listener.onMessage(opcode == 1, *message);
    } else {
      consumed(request.id, message->size());
    }
  } else if (frame.type == FrameType::kClose) {
    const auto code = payload.number<std::uint16_t>();
    if (payload.ok() && heard) {
      listener.onClose(code, payload.rest());
    }
  } else if (const auto bytes = payload.number<std::uint32_t>(); heard) {
    listener.onTaken(bytes);
  }
  return payload.ok() ? std::string() : "it sent a WebSocket's frame that is too short";
}

void PythonRuntime::checkHealth(std::move_only_function<void(bool)> answer) {
  constexpr auto kPatience = std::chrono::seconds(5);
  const Id id = ++last_check_;
  const bool known = !ready_ || !asks_health_;
  auto timeout = std::make_unique<net::Timer>(
      loop_, [this, id, healthy = known && ready_] { answerHealth(id, healthy); });
  timeout->armAfter(known ? Duration::zero() : kPatience);
  checks_.emplace(id, HealthCheck{std::move(answer), std::move(timeout)});
  if (!known) {
    FrameWriter(worker_->channel().out(), FrameType::kHealth, id);
  }
}

void PythonRuntime::answerHealth(Id id, bool healthy) {
  if (auto check = checks_.extract(id)) {
    loop_.destroyLater(std::move(check.mapped().timeout));
    check.mapped().answer(healthy);
  }
}

std::string PythonRuntime::onHealthy(const Frame& frame) {
  PayloadReader payload(frame.payload);
  const bool healthy = payload.number<std::uint8_t>() != 0;
  answerHealth(frame.id, healthy && payload.ok());
  return {};
}

}  // namespace penstock::runtime
