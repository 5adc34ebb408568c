#include "sidecar/python_executor.h"

#include <array>
#include <cctype>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/json_escape.h"
#include "net/http/field_rules.h"
#include "net/process/program_path.h"
#include "sidecar/python_calls.h"
#include "sidecar/request_json.h"
#include "sidecar/route.h"
#include "sidecar/truss_reply.h"
#include "sidecar/truss_route.h"
#include "sidecar/websocket_call.h"

namespace penstock::sidecar {
namespace {

using runtime::Operation;
using runtime::PythonRuntime;
using Kind = TrussRoute::Kind;

// Beside this program as it is installed: ../lib/penstock/python.
std::string workerPackage() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return (program.parent_path().parent_path() / "lib/penstock/python/penstock_worker").string();
}

std::string startJson(const ModelConfig& config, const PythonModel& python) {
  std::string json = R"({"directory":)";
  appendJsonString(json, config.directory);
  json += R"(,"config":)" + python.config_json;
  json += R"(,"predict_concurrency":)" + std::to_string(config.predict_concurrency);
  json += R"(,"preprocess_threads":)" + std::to_string(config.preprocess_threads);
  json += R"(,"postprocess_threads":)" + std::to_string(config.postprocess_threads);
  json += R"(,"stream_buffer":)" + std::to_string(python.stream_buffer.count);
  json += R"(,"secrets_directory":"/secrets"})";
  return json;
}

PythonRuntime::Options runtimeOptions(const ModelConfig& config, std::size_t max_in_flight) {
  const auto& python = std::get<PythonModel>(config.kind);
  const auto interpreter = net::findProgram(python.interpreter);
  return {.worker = {.interpreter = interpreter.value_or(python.interpreter),
                     .package = workerPackage(),
                     .directory = config.directory,
                     .environment = python.environment,
                     .start = startJson(config, python)},
          .predict_concurrency = config.predict_concurrency,
          .preprocess_threads = config.preprocess_threads,
          .max_in_flight = max_in_flight,
          .max_waiting = config.max_waiting,
          .gate_timeout = config.gate_timeout,
          .stream_buffer = python.stream_buffer.count,
          .chunk_timeout = python.streaming_read_timeout,
          .hang_timeout = python.hang_timeout};
}

std::string_view mediaType(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ')) {
    content_type.remove_suffix(1);
  }
  return content_type;
}

// As Truss decides it: the openai client says that it accepts JSON and wants the stream.
bool wantsGathered(const http::Headers& headers) {
  std::string agent(headers.get("user-agent").value_or(""));
  for (char& c : agent) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return headers.get("accept") == "application/json" && !agent.contains("openai");
}

PythonRuntime::Submission submissionOf(Operation operation, Work work) {
  const http::Headers& headers = work.head.headers;
  return {.operation = operation,
          .msgpack = http::equalsIgnoreCase(mediaType(headers.get("content-type").value_or("")),
                                            "application/octet-stream"),
          .gather = wantsGathered(headers),
          .request_json = requestJson(work.head, work.request_id, work.ends),
          .body = std::move(work.body),
          .request_id = std::move(work.request_id),
          .deadline = work.deadline};
}

constexpr std::string_view kNoWebSocket = "WebSocket is not implemented on this deployment.";

// Accepts and closes, since a refused handshake tells a browser nothing.
class NoWebSocketCall final : public PythonExecutor::Call {
 public:
  NoWebSocketCall(net::EventLoop& loop, PythonExecutor& executor, Executor::Id id,
                  Executor::Listener& listener) {
    loop.post([&executor, id, &listener] {
      executor.forget(id);
      std::string frame;
      appendWebSocketClose(frame, kCloseUnsupported, kNoWebSocket);
      listener.onHead({.status = 200, .headers = {}, .content_length = {}});
      listener.onData(frame);
      listener.onFinished({});
    });
  }
  void cancel() override {}
  void sendData(std::span<const std::uint8_t>, bool) override {}
  void consumed(std::size_t) override {}
};

}  // namespace

PythonExecutor::PythonExecutor(net::EventLoop& loop, const ModelConfig& config,
                               std::size_t max_in_flight, Logger& log, Metrics& metrics,
                               Executor::Owner& owner)
    : loop_(loop),
      config_(config),
      owner_(owner),
      runtime_(loop, runtimeOptions(config, max_in_flight), log, metrics, *this) {}

PythonExecutor::~PythonExecutor() = default;

void PythonExecutor::start() {
  runtime_.start();
}

std::optional<Refusal> PythonExecutor::unready() const {
  if (runtime_.draining()) {
    return Refusal::kDraining;
  }
  if (!runtime_.ready()) {
    return Refusal::kNotReady;
  }
  return std::nullopt;
}

ErrorStyle PythonExecutor::errorStyle(const http::RequestHead& head) const {
  return apiStyleOf(routedPath(head.path), ErrorStyle::kTruss);
}

std::expected<Intake, Reply> PythonExecutor::intake(const http::RequestHead& head) {
  const TrussRoute route = trussRouteOf(head);
  switch (route.kind) {
    case Kind::kNotFound:
      return std::unexpected(makeTrussRefusal(Refusal::kNotFound, TrussError::kClient));
    case Kind::kMethodNotAllowed:
      return std::unexpected(makeMethodNotAllowed(route.allowed));
    case Kind::kLive:
      return std::unexpected(makeReply(200, "application/json", "true"));
    case Kind::kReady:
      return Intake::kWhole;
    case Kind::kLoaded:
      return std::unexpected(runtime_.ready() ? makeReply(200, "application/json", "{}")
                                              : makeModelNotReady());
    case Kind::kSchema:
      if (!runtime_.ready()) {
        return std::unexpected(makeTrussRefusal(Refusal::kNotReady, TrussError::kModel,
                                                "Schema not available, please try again later."));
      }
      return std::unexpected(
          runtime_.schema().empty()
              ? makeTrussRefusal(Refusal::kNotFound, TrussError::kClient, "No schema found")
              : makeReply(200, "application/json", runtime_.schema()));
    case Kind::kRun:
      break;
  }
  if (runtime_.draining()) {
    return std::unexpected(makeTrussRefusal(Refusal::kDraining, TrussError::kModel));
  }
  const bool websocket = route.operation == Operation::kWebSocket;
  if (websocket ? !runtime_.ready() : !runtime_.takesRequests()) {
    return std::unexpected(makeModelNotReady());
  }
  if (websocket) {
    return Intake::kStreamed;
  }
  if (!runtime_.offers(route.operation)) {
    return std::unexpected(makeTrussRefusal(
        Refusal::kNotFound, TrussError::kClient,
        "The model has no method `" + std::string(toString(route.operation)) + "`."));
  }
  return Intake::kWhole;
}

std::expected<Executor::Id, Reply> PythonExecutor::submit(Work work, Listener& listener) {
  const TrussRoute route = trussRouteOf(work.head);
  const Id id = ++last_id_;
  if (route.kind == Kind::kReady) {
    calls_.emplace(id, std::make_unique<HealthCall>(*this, id, listener));
    return id;
  }
  if (route.operation == Operation::kWebSocket) {
    if (!runtime_.offers(Operation::kWebSocket)) {
      calls_.emplace(id, std::make_unique<NoWebSocketCall>(loop_, *this, id, listener));
      return id;
    }
    auto call =
        std::make_unique<WebSocketCall>(loop_, *this, id, listener, config_.max_request_body.count,
                                        std::get<PythonModel>(config_.kind).stream_buffer.count);
    if (auto refused = call->begin(submissionOf(route.operation, std::move(work)))) {
      return std::unexpected(std::move(*refused));
    }
    calls_.emplace(id, std::move(call));
    return id;
  }
  auto call = std::make_unique<ModelCall>(*this, id, listener);
  if (auto refused = call->begin(submissionOf(route.operation, std::move(work)))) {
    return std::unexpected(std::move(*refused));
  }
  calls_.emplace(id, std::move(call));
  return id;
}

void PythonExecutor::cancel(Id id) {
  calls_.at(id)->cancel();
}

void PythonExecutor::sendData(Id id, std::span<const std::uint8_t> data, bool end) {
  calls_.at(id)->sendData(data, end);
}

void PythonExecutor::consumed(Id id, std::size_t bytes) {
  if (const auto call = calls_.find(id); call != calls_.end()) {
    call->second->consumed(bytes);
  }
}

void PythonExecutor::forget(Id id) {
  loop_.destroyLater(std::move(calls_.extract(id).mapped()));
}

}  // namespace penstock::sidecar
