#include "proxy/server.h"

#include <algorithm>
#include <csignal>

#include <sys/resource.h>

#include "net/listener.h"
#include "proxy/config/dump.h"
#include "proxy/scaling/process_provider.h"
#include "proxy/scaling/static_provider.h"

namespace penstock::proxy {
namespace {

// Descriptors kept for everything but connections.
constexpr std::uint64_t kReservedDescriptors = 200;

// As many connections as the open-file limit allows: each may need one to a replica.
std::uint32_t affordableConnections(std::uint32_t configured) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t files = limit.rlim_cur;
  const std::uint64_t affordable =
      files > kReservedDescriptors + 2 ? (files - kReservedDescriptors) / 2 : 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(configured, affordable));
}

}  // namespace

Result<std::unique_ptr<Server>> Server::make(const Config& config, std::string version,
                                             std::uint32_t workers, const Clock& clock,
                                             Logger& log) {
  std::unique_ptr<Server> server(new Server(config, std::move(version), clock, log));
  if (auto opened = server->open(workers); !opened) {
    return std::unexpected(opened.error());
  }
  return server;
}

Server::Server(const Config& config, std::string version, const Clock& clock, Logger& log)
    : config_(config),
      version_(std::move(version)),
      clock_(clock),
      started_(clock.now()),
      log_(log),
      loop_(clock),
      budget_(config.limits.max_buffered.value_or(BufferBudget::defaultLimit())),
      worker_context_{.config = config_,
                      .clock = clock_,
                      .clusters = clusters_,
                      .cluster_tls = cluster_tls_,
                      .listeners = listeners_,
                      .budget = budget_,
                      .access_log = nullptr} {
  metrics_.callback("penstock_buffered_bytes", "Bytes of bodies held.", {}, false,
                    [this] { return static_cast<double>(budget_.used()); });
}

Server::~Server() = default;

Result<void> Server::open(std::uint32_t workers) {
  if (config_.access_log.enabled()) {
    auto sink = LineSink::open(config_.access_log.path);
    if (!sink) {
      return std::unexpected(sink.error());
    }
    access_log_ = std::move(*sink);
    worker_context_.access_log = access_log_.get();
  }
  if (auto result = openClusters(); !result) {
    return result;
  }
  if (auto result = openListeners(workers); !result) {
    return result;
  }
  return openAdmin();
}

Result<void> Server::openClusters() {
  for (const ClusterConfig& config : config_.clusters) {
    clusters_.push_back(std::make_unique<Cluster>(config, clock_, metrics_));
    cluster_tls_.emplace_back();
    if (config.tls) {
      auto tls =
          net::TlsContext::client({.ca_file = config.tls->ca,
                                   .server_name = config.tls->server_name,
                                   .offer_h2 = config.protocol != UpstreamProtocol::kHttp1,
                                   .offer_http1 = config.protocol != UpstreamProtocol::kHttp2});
      if (!tls) {
        return failure("cluster \"" + config.name + "\": " + tls.error().message);
      }
      cluster_tls_.back() = std::move(*tls);
    }
    health_.push_back(
        std::make_unique<ReplicaHealth>(loop_, *clusters_.back(), cluster_tls_.back().get(), log_));
    providers_.push_back(makeProvider(clusters_.size() - 1));
    autoscalers_.push_back(std::make_unique<Autoscaler>(
        loop_, *clusters_.back(), *health_.back(), providers_.back()->scaler(), metrics_, log_));
  }
  return {};
}

Result<void> Server::openListeners(std::uint32_t workers) {
  std::vector<std::vector<net::UniqueFd>> sockets(workers);
  for (const ListenerConfig& config : config_.listeners) {
    auto shared = ListenerShared::make(
        config_, config, affordableConnections(config.max_connections), clock_, metrics_);
    if (!shared) {
      return std::unexpected(shared.error());
    }
    listeners_.push_back(std::move(*shared));
    auto address = net::Address::parse(config.address);
    for (auto& of_worker : sockets) {
      if (!address) {
        break;
      }
      // With port 0 the first socket decides the port that the others share.
      auto socket = net::listenOn(*address, true);
      if (!socket) {
        return failure("listener \"" + config.name + "\": " + socket.error().message);
      }
      address = net::boundAddress(socket->get());
      of_worker.push_back(std::move(*socket));
    }
    if (!address) {
      return failure("listener \"" + config.name + "\": " + address.error().message);
    }
    log_.info("listening", {{"listener", config.name}, {"address", address->toString()}});
  }
  for (auto& of_worker : sockets) {
    workers_.push_back(std::make_unique<Worker>(worker_context_, std::move(of_worker)));
  }
  return {};
}

Result<void> Server::openAdmin() {
  const auto address = net::Address::parse(config_.admin.address);
  auto socket = address ? net::listenOn(*address, false) : std::unexpected(address.error());
  if (!socket) {
    return failure("admin: " + socket.error().message);
  }
  admin_ = std::make_unique<AdminServer>(loop_, std::move(*socket), adminSources());
  log_.info("listening", {{"listener", "admin"}, {"address", admin_->address().toString()}});
  return {};
}

AdminSources Server::adminSources() {
  return {.server =
              [this] {
                return ServerStatus{.version = version_,
                                    .state = state_,
                                    .uptime = loop_.now() - started_,
                                    .workers = static_cast<unsigned>(workers_.size())};
              },
          .clusters = [this] { return clusterStatuses(); },
          .scaling = [this] { return scalingStatuses(); },
          .metrics = [this] { return metrics_.render(); },
          .config_dump = dumpConfig(config_)};
}

std::vector<ClusterStatus> Server::clusterStatuses() const {
  std::vector<ClusterStatus> statuses;
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    statuses.push_back(statusOf(*clusters_[i], *health_[i]));
  }
  return statuses;
}

std::vector<ScalingStatus> Server::scalingStatuses() const {
  std::vector<ScalingStatus> statuses;
  for (const auto& autoscaler : autoscalers_) {
    statuses.push_back(autoscaler->status());
  }
  return statuses;
}

std::unique_ptr<ReplicaProvider> Server::makeProvider(std::size_t cluster_index) {
  const ClusterConfig& config = clusters_[cluster_index]->config();
  ReplicaHealth& health = *health_[cluster_index];
  const auto* fixed = std::get_if<StaticReplicas>(&config.replicas);
  if (fixed == nullptr) {
    return std::make_unique<ProcessProvider>(loop_, config, health, metrics_, log_);
  }
  std::vector<net::Address> addresses;
  for (const std::string& address : fixed->addresses) {
    addresses.push_back(*net::Address::parse(address));
  }
  return std::make_unique<StaticProvider>(loop_, health, std::move(addresses));
}

int Server::run() {
  net::SignalWatch on_terminate(loop_, SIGTERM,
                                [this] { state_ == ServerState::kDraining ? stop(1) : drain(); });
  net::SignalWatch on_interrupt(loop_, SIGINT, [this] { stop(1); });
  for (const auto& provider : providers_) {
    provider->start();
  }
  for (const auto& autoscaler : autoscalers_) {
    autoscaler->start();
  }
  for (const auto& worker : workers_) {
    worker->start();
  }
  state_ = ServerState::kServing;
  loop_.run();
  for (const auto& worker : workers_) {
    worker->stop();
  }
  workers_.clear();
  return exit_status_;
}

void Server::drain() {
  state_ = ServerState::kDraining;
  log_.info("draining");
  for (const auto& cluster : clusters_) {
    cluster->queue().drain();
  }
  for (const auto& worker : workers_) {
    worker->drain([this] { loop_.post([this] { onWorkerDrained(); }); });
  }
}

void Server::onWorkerDrained() {
  if (++drained_workers_ == workers_.size()) {
    stopReplicas();
  }
}

void Server::stopReplicas() {
  for (const auto& autoscaler : autoscalers_) {
    autoscaler->stop();
  }
  for (const auto& provider : providers_) {
    provider->stop([this] {
      if (++stopped_providers_ == providers_.size()) {
        stop(0);
      }
    });
  }
}

void Server::stop(int exit_status) {
  exit_status_ = exit_status;
  log_.info("stopping");
  loop_.stop();
}

}  // namespace penstock::proxy
