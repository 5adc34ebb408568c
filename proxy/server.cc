#include "proxy/server.h"

#include <algorithm>
#include <csignal>

#include <sys/resource.h>

#include "net/listener.h"

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

Result<std::unique_ptr<Server>> Server::make(const Config& config, std::uint32_t workers,
                                             const Clock& clock, Logger& log) {
  std::unique_ptr<Server> server(new Server(config, clock, log));
  if (auto opened = server->open(workers); !opened) {
    return std::unexpected(opened.error());
  }
  return server;
}

Server::Server(const Config& config, const Clock& clock, Logger& log)
    : config_(config),
      clock_(clock),
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
  return openListeners(workers);
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

void Server::startReplicas() {
  for (const auto& cluster : clusters_) {
    if (const auto* fixed = std::get_if<StaticReplicas>(&cluster->config().replicas)) {
      for (const std::string& address : fixed->addresses) {
        Replica& replica = cluster->queue().addReplica(*net::Address::parse(address));
        cluster->queue().setAvailable(replica.id, true);
        log_.info("replica ready", {{"cluster", cluster->name()}, {"address", address}});
      }
    }
  }
}

int Server::run() {
  net::SignalWatch on_terminate(loop_, SIGTERM, [this] { draining_ ? stop(1) : drain(); });
  net::SignalWatch on_interrupt(loop_, SIGINT, [this] { stop(1); });
  startReplicas();
  for (const auto& worker : workers_) {
    worker->start();
  }
  loop_.run();
  workers_.clear();
  return exit_status_;
}

void Server::drain() {
  draining_ = true;
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
    stop(0);
  }
}

void Server::stop(int exit_status) {
  exit_status_ = exit_status;
  log_.info("stopping");
  loop_.stop();
}

}  // namespace penstock::proxy
