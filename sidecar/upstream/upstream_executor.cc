#include "sidecar/upstream/upstream_executor.h"

#include <random>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "sidecar/upstream/forwarding.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

http::PoolSettings poolSettings(const UpstreamModel& model) {
  // Less than the 5 s after which uvicorn, for one, closes an idle connection.
  constexpr Duration kIdleTimeout = 4s;
  http::PoolSettings settings;
  settings.protocol = model.protocol;
  settings.connect_timeout = 5s;
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
      request_id_prefix_(
          fmt::format("{:08x}{:08x}-", std::random_device()(), std::random_device()())),
      pool_settings_(poolSettings(model_)),
      pool_(loop, model_.address, pool_settings_),
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
              .model = model_,
              .gate_timeout = config.gate_timeout,
              .owner = *this},
      watch_(loop, model_, *this) {
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
    const auto started = process_->start([this](const std::string& how) { onServerEnded(how); });
    if (!started) {
      loop_.post([this, why = started.error().message] { owner_.onExecutorFailed(why); });
      return;
    }
  }
  watch_.start();
}

std::optional<Refusal> UpstreamExecutor::unready() const {
  if (draining_) {
    return Refusal::kDraining;
  }
  return watch_.ready() ? std::nullopt : std::optional(Refusal::kNotReady);
}

// Once the server has been ready, it says itself what it cannot do.
std::expected<Intake, Reply> UpstreamExecutor::intake(const http::RequestHead& head) {
  if (draining_ || !watch_.hasBeenReady()) {
    if (asksForLiveness(head, model_)) {
      return std::unexpected(makeReply(200, "application/json", "true"));
    }
    return std::unexpected(makeRefusal(draining_ ? Refusal::kDraining : Refusal::kNotReady));
  }
  return forwardingOf(head, model_).streamed ? Intake::kStreamed : Intake::kWhole;
}

std::expected<Executor::Id, Reply> UpstreamExecutor::submit(Work work, Listener& listener) {
  if (draining_ || calls_.size() >= max_in_flight_) {
    metrics_.refused();
    return std::unexpected(
        makeRefusal(draining_ ? Refusal::kDraining : Refusal::kConcurrencyLimit));
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
}

void UpstreamExecutor::onServerLate(const std::string& why) {
  owner_.onExecutorFailed("the model server was not ready in time: " + why);
}

void UpstreamExecutor::onServerEnded(const std::string& how) {
  draining_ = true;
  std::vector<UpstreamCall*> running;
  for (const auto& [id, call] : calls_) {
    call->leaveGate();
    running.push_back(call.get());
  }
  for (UpstreamCall* call : running) {
    call->fail();
  }
  owner_.onExecutorFailed("the model server ended: " + how);
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

}  // namespace penstock::sidecar
