#include "sidecar/server.h"

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sidecar/native_executor.h"
#include "sidecar/python_executor.h"
#include "sidecar/upstream/upstream_executor.h"

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxConnections = 10'000;
// For connections whose last response is still on its way, when all work has ended.
constexpr auto kLastBytes = 5s;

http::Limits connectionLimits() {
  http::Limits limits;
  // What the proxy takes from its clients by default, and what it adds.
  limits.max_header_bytes += 16 * 1024;
  limits.max_header_fields += 28;
  // A proxy resets for all its clients.
  limits.client_resets = {.burst = 10'000, .per_second = 1'000};
  // Its clients are proxies, which end their direction only when they give a request up.
  limits.half_close = http::HalfClose::kDeparture;
  return limits;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::make(const Options& options, net::UniqueFd handed_over,
                                             const Clock& clock, Logger& log) {
  auto socket = handed_over.valid() ? net::listenOn(std::move(handed_over), options.listen)
                                    : net::listenOn(options.listen, false);
  if (!socket) {
    return std::unexpected(socket.error());
  }
  return std::unique_ptr<Server>(new Server(options, std::move(*socket), clock, log));
}

Server::Server(const Options& options, net::UniqueFd socket, const Clock& clock, Logger& log)
    : options_(options),
      clock_(clock),
      log_(log),
      loop_(clock),
      gpus_(metrics_, log),
      limits_(connectionLimits()),
      executor_(makeExecutor()),
      service_(loop_, log_, metrics_, *executor_,
               {.max_request_body = options_.model.max_request_body.count,
                .max_held = options_.model.max_buffered.count,
                .write_timeout = limits_.write_timeout,
                .load = {.limit = static_cast<std::uint32_t>(options_.concurrency_limit),
                         .predict_concurrency =
                             static_cast<std::uint32_t>(options_.model.predict_concurrency),
                         .gpus = &gpus_}}),
      listener_(loop_, std::move(socket), *this),
      on_terminate_(loop_, SIGTERM, [this] { onTerminate(); }),
      on_interrupt_(loop_, SIGINT, [this] { stop(1, true); }) {
  metrics_.callback("penstock_connections", "Open connections", {}, false,
                    [this] { return static_cast<double>(connections_.size()); });
}

// What still works ends before what it reaches.
Server::~Server() {
  executor_.reset();
}

void Server::logRemarks() {
  const TrussRemarks& remarks = options_.model.remarks;
  for (const std::string& warning : remarks.warnings) {
    log_.warning("config.yaml", {{"warning", warning}});
  }
  if (!remarks.left_to_image.empty()) {
    log_.info("config.yaml: keys that are left to the image", {{"keys", remarks.left_to_image}});
  }
}

int Server::run() {
  log_.info("listening", {{"listener", "model"}, {"address", listener_.address().toString()}});
  if (options_.concurrency_limit < options_.model.predict_concurrency) {
    log_.warning(
        "the concurrency limit is below the predict concurrency, which is never reached",
        {{"concurrency_limit", static_cast<std::int64_t>(options_.concurrency_limit)},
         {"predict_concurrency", static_cast<std::int64_t>(options_.model.predict_concurrency)}});
  }
  logRemarks();
  executor_->start();
  loop_.run();
  return exit_status_;
}

std::unique_ptr<Executor> Server::makeExecutor() {
  Executor::Owner& owner = *this;
  if (std::holds_alternative<PythonModel>(options_.model.kind)) {
    return std::make_unique<PythonExecutor>(loop_, options_.model, options_.concurrency_limit, log_,
                                            metrics_, owner);
  }
  if (std::holds_alternative<UpstreamModel>(options_.model.kind)) {
    return std::make_unique<UpstreamExecutor>(loop_, options_.model, options_.concurrency_limit,
                                              log_, metrics_, owner);
  }
  return std::make_unique<NativeExecutor>(loop_, options_.model, options_.concurrency_limit, log_,
                                          metrics_, owner);
}

void Server::onExecutorReady() {
  loading_ = false;
  log_.info("model ready", {{"model", options_.model.model_name},
                            {"predict_concurrency",
                             static_cast<std::int64_t>(options_.model.predict_concurrency)}});
}

void Server::onExecutorFailed(std::string_view why) {
  log_.error(std::exchange(loading_, false) ? "the model cannot be loaded" : "the model has ended",
             {{"model", options_.model.model_name}, {"error", why}});
  stop(1, false);
}

void Server::onAccept(net::UniqueFd fd, const net::Address& peer) {
  const DownstreamConnection::Id id = ++last_connection_;
  const net::Address local = net::boundAddress(fd.get());
  auto connection = std::make_unique<net::Connection>(
      loop_, std::move(fd), peer, nullptr,
      net::Connection::Options{.write_timeout = limits_.write_timeout});
  DownstreamConnection::Owner& owner = *this;
  connections_.emplace(id, std::make_unique<DownstreamConnection>(id, loop_, std::move(connection),
                                                                  local, limits_, service_, owner));
  if (connections_.size() == kMaxConnections) {
    listener_.setAccepting(false);
  }
}

void Server::onExhausted() {
  std::vector<DownstreamConnection::Id> idle;
  for (const auto& [id, connection] : connections_) {
    if (connection->idle()) {
      idle.push_back(id);
    }
  }
  log_.warning("out of descriptors: closing idle connections",
               {{"closed", static_cast<std::int64_t>(idle.size())}});
  for (const DownstreamConnection::Id id : idle) {
    DownstreamConnection& connection = *connections_.at(id);
    connection.close();
    onDownstreamClosed(connection);
  }
}

void Server::onDownstreamClosed(DownstreamConnection& connection) {
  if (connections_.size() == kMaxConnections) {
    listener_.setAccepting(true);
  }
  auto node = connections_.extract(connection.id());
  loop_.destroyLater(std::move(node.mapped()));
  if (draining_ && connections_.empty() && service_.exchanges() == 0) {
    stop(0, false);
  }
}

void Server::onTerminate() {
  if (draining_ || loading_) {
    stop(draining_ ? 1 : 0, true);
    return;
  }
  log_.info("draining", {{"in_flight", static_cast<std::int64_t>(service_.exchanges())}});
  draining_ = true;
  drain_timer_.emplace(loop_, [this] { onDrainTimeout(); });
  drain_timer_->armAfter(options_.drain_timeout);
  drainConnections(http::ServerConnection::Idle::kAnswer);
  service_.drain([this] { onDrained(); });
}

// The last responses are perhaps not written yet; connections that came since were answered
// "draining".
void Server::onDrained() {
  drainConnections(http::ServerConnection::Idle::kAnswer);
  if (connections_.empty()) {
    stop(0, false);
    return;
  }
  drain_timer_.emplace(loop_, [this] { stop(0, false); });
  drain_timer_->armAfter(kLastBytes);
}

void Server::onDrainTimeout() {
  log_.warning("draining took too long: what runs is cut off",
               {{"in_flight", static_cast<std::int64_t>(service_.exchanges())}});
  stop(1, true);
}

void Server::drainConnections(http::ServerConnection::Idle idle) {
  std::vector<DownstreamConnection*> all;
  for (const auto& [id, connection] : connections_) {
    all.push_back(connection.get());
  }
  for (DownstreamConnection* connection : all) {
    connection->drain(idle);
  }
}

void Server::stop(int exit_status, bool abandon) {
  if (stopped_ && !abandon) {
    return;
  }
  stopped_ = true;
  exit_status_ = exit_status;
  drain_timer_.reset();
  if (abandon) {
    abandoned_ = loading_ || executor_->inFlight() > 0;
    executor_->kill();
    onStopped();
  } else {
    executor_->stop([this] {
      if (executor_->wasCut()) {
        exit_status_ = 1;
      }
      onStopped();
    });
  }
}

void Server::onStopped() {
  if (exit_status_ == 0) {
    log_.info("stopped");
  }
  loop_.stop();
}

}  // namespace penstock::sidecar
