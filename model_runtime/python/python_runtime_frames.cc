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

// The worker's times are not to be trusted with more than what has passed since the stage began.
TimePoint pastTime(std::int64_t nanoseconds, TimePoint earliest, const Clock& clock) {
  return std::max(earliest, std::min(TimePoint(Duration(nanoseconds)), clock.now()));
}

// The time from one to the other; none if they are in disorder, as no clock has them.
Duration timeBetween(std::int64_t begin, std::int64_t end) {
  return Duration(begin < 0 || end < begin ? 0 : end - begin);
}

// A text of code points up to U+00FF as the bytes that they stand for; nothing if it has others.
std::optional<std::string> latin1(std::string_view utf8) {
  std::string bytes;
  bytes.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto first = static_cast<unsigned char>(utf8[i]);
    if (first < 0x80) {
      bytes += utf8[i];
    } else if (first <= 0xC3 && i + 1 < utf8.size()) {
      bytes += static_cast<char>((first & 0x03) << 6 | (utf8[++i] & 0x3F));
    } else {
      return std::nullopt;
    }
  }
  return bytes;
}

// [[name, value], …]; nothing if it is something else.
std::optional<PythonRuntime::Fields> fieldsOf(const nlohmann::json& list) {
  PythonRuntime::Fields fields;
  if (!list.is_array()) {
    return std::nullopt;
  }
  for (const auto& field : list) {
    if (!field.is_array() || field.size() != 2 || !field[0].is_string() || !field[1].is_string()) {
      return std::nullopt;
    }
    auto name = latin1(field[0].get_ref<const std::string&>());
    auto value = latin1(field[1].get_ref<const std::string&>());
    if (!name || !value) {
      return std::nullopt;
    }
    fields.emplace_back(std::move(*name), std::move(*value));
  }
  return fields;
}

std::optional<PythonRuntime::Fields> parseFields(std::string_view json) {
  return json.empty() ? PythonRuntime::Fields()
                      : fieldsOf(nlohmann::json::parse(json, nullptr, false));
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
    metrics_.stageTook(Stage::kPreprocess, timeBetween(begin, end));
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
  const TimePoint when =
      pastTime(payload.number<std::int64_t>(), request.stage_began, loop_.clock());
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
  const TimePoint when =
      pastTime(payload.number<std::int64_t>(), request.stage_began, loop_.clock());
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
  if (!payload.ok() || !request.begun || std::exchange(request.streaming, true) ||
      request.submission.operation == Operation::kWebSocket) {
    return "it sent a HEAD that does not fit";
  }
  request.stalled.emplace(loop_, [this, &request] {
    stop(request, End::kStalled);
    request.listener.onStalled();
  });
  request.stalled->armAfter(options_.chunk_timeout);
  if (!fields.has_value() || !isFinalStatus(status)) {
    giveUpUnfit(request, "a status or header fields that HTTP does not have");
  } else if (!request.end_as.has_value()) {
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
  if ((frame.flags & kFlagDescriptor) == 0) {
    return std::string(rest);
  }
  if (!frame.body.valid()) {
    return failure("its body was lost: this process has too many files open");
  }
  return readBodyFile(frame.body, options_.max_response_body);
}

// What a model answers is that request's matter: it ends this one, and not the worker.
void PythonRuntime::giveUpUnfit(Request& request, std::string_view why) {
  log_.error("what the model answered cannot be passed on",
             {{"request_id", std::string_view(request.submission.request_id)}, {"why", why}});
  stop(request, End::kUnfit);
}

std::string PythonRuntime::onDone(Request& request, Frame& frame) {
  enum Kind : std::uint8_t { kResponse, kFinished, kAborted, kCancelled, kExpired, kTakenBack };
  PayloadReader payload(frame.payload);
  const auto kind = payload.number<std::uint8_t>();
  const auto how = payload.number<std::uint8_t>();
  const int status = payload.number<std::uint16_t>();
  auto fields = parseFields(payload.bytes(payload.number<std::uint32_t>()));
  if (!payload.ok() || kind > kTakenBack || request.state == Request::State::kPredicting ||
      (kind == kResponse && request.streaming) ||
      ((kind == kFinished || kind == kAborted) && !request.begun)) {
    return "it sent a DONE that does not fit";
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
    return onResponse(request, status, how, std::move(fields), bodyOf(frame, payload.rest()));
  }
  // A stream that was cancelled, and came to its end all the same, has been given up already.
  constexpr std::array kEnds{End::kCancelled, End::kFinished,         End::kAborted,
                             End::kCancelled, End::kDeadlineExceeded, End::kCancelled};
  finish(request, request.end_as.value_or(kEnds[kind]), how);
  return {};
}

std::string PythonRuntime::onResponse(Request& request, int status, std::uint8_t how,
                                      std::optional<Fields> fields, Result<std::string> body) {
  if (!body || !fields.has_value() || !isFinalStatus(status)) {
    log_.error("what the model answered cannot be passed on",
               {{"request_id", std::string_view(request.submission.request_id)},
                {"why", !body ? std::string_view(body.error().message)
                              : "a status or header fields that HTTP does not have"}});
    finish(request, End::kUnfit);
    return {};
  }
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
    const auto headers = object.find("headers");
    auto fields = headers == object.end() ? Fields() : fieldsOf(*headers);
    const auto protocol = object.find("subprotocol");
    if (!fields.has_value()) {
      giveUpUnfit(request, "header fields that HTTP does not have");
    } else if (heard) {
      listener.onAccept(protocol != object.end() && protocol->is_string()
                            ? protocol->get<std::string>()
                            : std::string(),
                        std::move(*fields));
    }
  } else if (frame.type == FrameType::kSend) {
    const auto opcode = payload.number<std::uint8_t>();
    auto message = bodyOf(frame, payload.rest());
    if (!payload.ok() || !request.streaming) {
      return "it sent a message that does not fit";
    }
    if (!message) {
      giveUpUnfit(request, message.error().message);
    } else if (heard) {
      listener.onMessage(opcode == 1, *message);
    } else {
      consumed(request.id, sendBytes(message->size()));
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
  if (!known && !health_question_.has_value()) {
    health_question_ = id;
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
  if (health_question_ != frame.id) {
    return {};
  }
  health_question_.reset();
  std::vector<Id> asked;
  for (const auto& [id, check] : checks_) {
    asked.push_back(id);
  }
  for (const Id id : asked) {
    answerHealth(id, healthy && payload.ok());
  }
  return {};
}

}  // namespace penstock::runtime
