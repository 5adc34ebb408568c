#include "sidecar/upstream/upstream_executor.h"

#include <random>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "sidecar/route.h"
#include "sidecar/upstream/forwarding.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

// From the server's end to that of its connections: its last bytes are in them, or some process
// that it left behind holds them open.
constexpr Duration kLastAnswers = 2s;
// A supervisor that ends a whole service signals one process after the other.
constexpr Duration kSignalOnItsWay = 250ms;

http::PoolSettings poolSettings(const UpstreamModel& model) {
  // Less than the 5 s after which uvicorn, for one, closes an idle connection.
  constexpr Duration kIdleTimeout = 4s;
  http::PoolSettings settings;
  settings.protocol = model.protocol;
  settings.connect_timeout = 5s;
  settings.stream_timeout = 5s;
  settings.idle_timeout_http1 = kIdleTimeout;
  settings.idle_timeout_http2 = kIdleTimeout;
  settings.limits.idle_timeout = kIdleTimeout;
  return settings;
}

}  // namespace

UpstreamExecutor::UpstreamExecutor(net::EventLoop& loop, const ModelConfig& config,
                                   std::size_t max_in_flight, Logger& log, Metrics& metrics,
                                   Executor::Owner& owner)
    : loop_(loop),
      model_(std::get<UpstreamModel>(config.kind)),
      max_in_flight_(max_in_flight),
      owner_(owner),
      log_(log),
      request_id_prefix_(
          fmt::format("{:08x}{:08x}-", std::random_device()(), std::random_device()())),
      pool_settings_(poolSettings(model_)),
      pool_(loop, model_.address, pool_settings_),
      away_(loop),
      gate_(loop.clock(), *this,
            {.lanes = config.predict_concurrency, .max_waiting = config.max_waiting}),
      idle_lanes_(config.predict_concurrency, loop.clock().now()),
      metrics_(metrics, loop.clock(), gate_, idle_lanes_),
      shared_{.loop = loop,
              .log = log,
              .gate = gate_,
              .idle_lanes = idle_lanes_,
              .metrics = metrics_,
              .pool = pool_,
              .away = away_,
              .model = model_,
              .gate_timeout = config.gate_timeout,
              .owner = *this},
      watch_(loop, model_, *this),
      last_answers_(loop, [this] { onLastAnswers(); }) {
  metrics.callback("penstock_in_flight", "Requests accepted and not ended", {}, false,
                   [this] { return static_cast<double>(inFlight()); });
  if (model_.process.has_value()) {
    process_.emplace(loop, log, config);
  }
}

// All leave the gate first, or one that ends would let the next one in.
UpstreamExecutor::~UpstreamExecutor() {
  for (const auto& [id, call] : calls_) {
    call->leaveGate();
  }
  calls_.clear();
}

void UpstreamExecutor::start() {
  if (process_.has_value()) {
    const auto started =
        process_->start([this](const ServerProcess::End& end) { onServerEnded(end); });
    if (!started) {
      loop_.post([this, why = started.error().message] { owner_.onExecutorFailed(why); });
      return;
    }
  }
  watch_.start();
}

void UpstreamExecutor::drain() {
  draining_ = true;
  if (process_.has_value()) {
    process_->drain();
  }
}

std::optional<Refusal> UpstreamExecutor::unready() const {
  if (endsSoon()) {
    return Refusal::kDraining;
  }
  return watch_.ready() ? std::nullopt : std::optional(Refusal::kNotReady);
}

ErrorStyle UpstreamExecutor::errorStyle(const http::RequestHead& head) const {
  const std::string path = routedPath(head.path);
  return apiStyleOf(path, isTrussRoute(path) ? ErrorStyle::kTruss : ErrorStyle::kOwn);
}

// Once the server has been ready, it says itself what it cannot do.
std::expected<Intake, Reply> UpstreamExecutor::intake(const http::RequestHead& head) {
  if (endsSoon() || !watch_.hasBeenReady()) {
    if (asksForLiveness(head, model_)) {
      return std::unexpected(makeReply(200, "application/json", "true"));
    }
    return std::unexpected(makeRefusal(endsSoon() ? Refusal::kDraining : Refusal::kNotReady));
  }
  return forwardingOf(head, model_).streamed ? Intake::kStreamed : Intake::kWhole;
}

std::expected<Executor::Id, Reply> UpstreamExecutor::submit(Work work, Listener& listener) {
  if (endsSoon() || calls_.size() >= max_in_flight_) {
    metrics_.refused();
    return std::unexpected(
        makeRefusal(endsSoon() ? Refusal::kDraining : Refusal::kConcurrencyLimit));
  }
  const Id id = ++last_id_;
  if (work.request_id.empty()) {
    work.request_id = request_id_prefix_ + std::to_string(id);
  }
  Forwarding forwarding = forwardingOf(work.head, model_);
  auto call =
      std::make_unique<UpstreamCall>(shared_, id, std::move(work), std::move(forwarding), listener);
  if (const auto refusal = call->start()) {
    return std::unexpected(makeRefusal(*refusal));
  }
  calls_.emplace(id, std::move(call));
  return id;
}

void UpstreamExecutor::sendData(Id id, std::span<const std::uint8_t> data, bool end) {
  calls_.at(id)->sendData(data, end);
}

void UpstreamExecutor::onGrant(runtime::PredictGate::Grant grant) {
  static_cast<UpstreamCall*>(grant.waiter)->onGrant(std::move(grant.permit));
}

void UpstreamExecutor::onCallEnded(UpstreamCall& call) {
  auto node = calls_.extract(call.id());
  PENSTOCK_CHECK(!node.empty(), "a call ends once");
  loop_.destroyLater(std::move(node.mapped()));
  if (server_end_.has_value() && calls_.empty()) {
    last_answers_.armAfter(server_end_->orderly ? kSignalOnItsWay : Duration::zero());
  }
}

// A server that was left behind, or another program, answers as readily.
bool UpstreamExecutor::isOwnServer() {
  if (!process_.has_value()) {
    return true;
  }
  const auto before = std::exchange(
      listening_, process_->mayListenAt(model_.address) ? Listening::kOwn : Listening::kStranger);
  if (listening_ == Listening::kStranger && before != Listening::kStranger) {
    log_.warning(
        "not the model server that was started here, but another process listens at its "
        "port",
        {{"address", model_.address.toString()}});
  }
  return listening_ == Listening::kOwn;
}

void UpstreamExecutor::onServerLate(const std::string& why) {
  owner_.onExecutorFailed("the model server was not ready in time: " + why);
}

// What it has answered is read to its end, which the connections tell.
void UpstreamExecutor::onServerEnded(const ServerProcess::End& end) {
  server_end_ = end;
  away_.onServerEnded();
  last_answers_.armAfter(kLastAnswers);
  for (UpstreamCall* call : calls()) {
    call->leaveGate();
  }
  for (UpstreamCall* call : calls()) {
    if (!call->running()) {
      call->fail();
    }
  }
  if (calls_.empty()) {
    last_answers_.armAfter(end.orderly ? kSignalOnItsWay : Duration::zero());
  }
}

void UpstreamExecutor::onLastAnswers() {
  if (!calls_.empty()) {
    for (UpstreamCall* call : calls()) {
      call->fail();
    }
    return;
  }
  // One that was asked to end together with this process has not failed.
  if (!draining_ || !server_end_->orderly) {
    owner_.onExecutorFailed("the model server ended: " + server_end_->how);
  }
}

std::vector<UpstreamCall*> UpstreamExecutor::calls() const {
  std::vector<UpstreamCall*> result;
  for (const auto& [id, call] : calls_) {
    result.push_back(call.get());
  }
  return result;
}

void UpstreamExecutor::stop(std::move_only_function<void()> stopped) {
  if (process_.has_value()) {
    process_->stop(std::move(stopped));
  } else {
    stopped();
  }
}

void UpstreamExecutor::kill() {
  if (process_.has_value()) {
    process_->kill();
  }
}

bool UpstreamExecutor::wasCut() const {
  return (server_end_.has_value() && !server_end_->orderly) ||
         (process_.has_value() && process_->wasCut());
}

}  // namespace penstock::sidecar
