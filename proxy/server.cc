#include "proxy/server.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include "net/dns/dns_lookup.h"
#include "net/listener.h"
#include "proxy/admin/change_access.h"
#include "proxy/config/difference.h"
#include "proxy/config/loader.h"
#include "proxy/config/shared_replicas.h"
#include "proxy/scaling/dns_provider.h"
#include "proxy/scaling/process_provider.h"
#include "proxy/tls_files.h"

namespace penstock::proxy {
namespace {

// Descriptors kept for the process itself, the operator's ports, and names behind which replicas
// are; and for each other replica: its load reports, health checks, and the pipes of its process.
constexpr std::uint64_t kReservedDescriptors = 200;
constexpr std::uint64_t kDescriptorsOfReplica = 6;

std::uint64_t reservedDescriptors(const Config& config) {
  std::uint64_t replicas = 0;
  for (const ClusterConfig& cluster : config.clusters) {
    if (const auto* fixed = std::get_if<StaticReplicas>(&cluster.replicas)) {
      replicas += fixed->addresses.size();
    } else if (std::holds_alternative<ProcessReplicas>(cluster.replicas)) {
      replicas += cluster.autoscaling.max_replicas;
    }
  }
  return kReservedDescriptors + replicas * kDescriptorsOfReplica;
}

// A listener's share of the connections that the open-file limit allows: each may need one to a
// replica.
std::uint32_t affordableConnections(const Config& config, std::uint32_t configured) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t reserved = reservedDescriptors(config);
  const std::uint64_t rest = limit.rlim_cur > reserved ? limit.rlim_cur - reserved : 0;
  const std::uint64_t affordable = std::max<std::uint64_t>(1, rest / 2 / config.listeners.size());
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(configured, affordable));
}

// The loader has checked them.
std::vector<net::Address> parsed(const std::vector<std::string>& addresses) {
  std::vector<net::Address> result;
  for (const std::string& address : addresses) {
    result.push_back(*net::Address::parse(address));
  }
  return result;
}

// One for each worker.
Result<std::vector<net::UniqueFd>> openSockets(const ListenerConfig& config, std::size_t workers) {
  const auto address = net::Address::parse(config.address);
  if (!address) {
    return std::unexpected(address.error());
  }
  auto sockets = net::listenOnEach(*address, workers, config.reuse_port);
  if (!sockets && net::isInUse(sockets.error())) {
    return failure(sockets.error().message +
                   ", or say `reuse_port: true` at the listener of each proxy that is to share it");
  }
  return sockets;
}

Result<std::string> readAdminToken(const AdminConfig& admin) {
  return admin.token_file.empty() ? std::string() : readToken(admin.token_file);
}

ScalerFigures figuresOf(const Autoscaler& autoscaler) {
  const ScalingRecord& latest = autoscaler.latest();
  return {.demand = latest.decision.desired.demand,
          .desired = latest.decision.replicas,
          .waiting = latest.load.waiting > 0,
          .settings = latest.settings};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::make(const StartConfig& start, std::string version,
                                             std::uint32_t workers, const Clock& clock,
                                             Logger& log) {
  std::unique_ptr<Server> server(new Server(start, std::move(version), clock, log));
  for (const std::string& cluster : start.overrides.unknown) {
    log.warning("overrides of an unknown cluster are ignored",
                {{"cluster", cluster}, {"file", start.config.admin.overrides_file}});
  }
  if (auto opened = server->open(workers); !opened) {
    return std::unexpected(opened.error());
  }
  return server;
}

Server::Server(const StartConfig& start, std::string version, const Clock& clock, Logger& log)
    : config_(start.effective()),
      version_(std::move(version)),
      clock_(clock),
      started_(clock.now()),
      log_(log),
      loop_(clock),
      budget_(config_.limits.max_buffered.value_or(BufferBudget::defaultLimit())),
      settings_(start.config, start.overrides, clusters_, log),
      reloads_(start.file, metrics_, log),
      worker_context_{.config = config_,
                      .clock = clock_,
                      .clusters = clusters_,
                      .cluster_tls = cluster_tls_,
                      .listeners = listeners_,
                      .budget = budget_,
                      .access_log = nullptr,
                      .log = log_} {
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
  if (auto result = openAdmin(); !result) {
    return result;
  }
  return openExternalScaler();
}

Result<void> Server::openClusters() {
  warnOfSharedReplicas(config_);
  for (const ClusterConfig& config : config_.clusters) {
    clusters_.push_back(std::make_unique<Cluster>(config, clock_, metrics_));
    cluster_tls_.emplace_back();
    if (config.tls) {
      auto tls = net::TlsContext::client(tlsOptions(config));
      if (!tls) {
        return failure("cluster \"" + config.name + "\": " + tls.error().message);
      }
      cluster_tls_.back() = std::move(*tls);
    }
    health_.push_back(
        std::make_unique<ReplicaHealth>(loop_, *clusters_.back(), cluster_tls_.back().get(), log_));
    static_providers_.push_back(nullptr);
    auto provider = makeProvider(clusters_.size() - 1);
    if (!provider) {
      return std::unexpected(provider.error());
    }
    providers_.push_back(std::move(*provider));
    autoscalers_.push_back(std::make_unique<Autoscaler>(
        loop_, *clusters_.back(), *health_.back(), providers_.back()->scaler(), metrics_, log_));
  }
  return {};
}

Result<void> Server::openListeners(std::uint32_t workers) {
  std::vector<std::vector<net::UniqueFd>> sockets(workers);
  for (const ListenerConfig& config : config_.listeners) {
    auto shared = ListenerShared::make(
        config_, config, affordableConnections(config_, config.max_connections), clock_, metrics_);
    if (!shared) {
      return std::unexpected(shared.error());
    }
    listeners_.push_back(std::move(*shared));
    auto opened = openSockets(config, workers);
    if (!opened) {
      return failure("listener \"" + config.name + "\": " + opened.error().message);
    }
    const std::string address = net::boundAddress(opened->front().get()).toString();
    for (std::size_t i = 0; i < workers; ++i) {
      sockets[i].push_back(std::move((*opened)[i]));
    }
    log_.info("listening", {{"listener", config.name}, {"address", address}});
  }
  for (auto& of_worker : sockets) {
    workers_.push_back(std::make_unique<Worker>(worker_context_, std::move(of_worker)));
  }
  return {};
}

Result<void> Server::openAdmin() {
  auto token = readAdminToken(config_.admin);
  if (!token) {
    return failure("admin: " + token.error().message);
  }
  admin_token_ = std::move(*token);
  const auto address = net::Address::parse(config_.admin.address);
  auto socket = address ? net::listenOn(*address, false) : std::unexpected(address.error());
  if (!socket) {
    return failure("admin: " + socket.error().message);
  }
  admin_ = std::make_unique<AdminServer>(loop_, std::move(*socket), adminSources());
  log_.info("listening", {{"listener", "admin"}, {"address", admin_->address().toString()}});
  return {};
}

Result<void> Server::openExternalScaler() {
  if (!config_.external_scaler) {
    return {};
  }
  const auto address = net::Address::parse(config_.external_scaler->address);
  auto socket = address ? net::listenOn(*address, false) : std::unexpected(address.error());
  if (!socket) {
    return failure("external scaler: " + socket.error().message);
  }
  std::vector<ScaledCluster> scaled;
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    scaled.push_back({.name = clusters_[i]->name(), .figures = [&autoscaler = *autoscalers_[i]] {
                        return figuresOf(autoscaler);
                      }});
  }
  scaler_server_ =
      std::make_unique<ScalerServer>(loop_, std::move(*socket), ExternalScaler(std::move(scaled)));
  for (const auto& autoscaler : autoscalers_) {
    autoscaler->setDecisionListener([this] { scaler_server_->refresh(); });
  }
  log_.info("listening",
            {{"listener", "external_scaler"}, {"address", scaler_server_->address().toString()}});
  return {};
}

AdminSources Server::adminSources() {
  return {.server = [this] { return status(); },
          .clusters = [this] { return clusterStatuses(); },
          .scaling = [this] { return scalingStatuses(); },
          .metrics = [this] { return metrics_.render(); },
          .config_dump = [this] { return settings_.dump(); },
          .settings = [this](std::string_view cluster) { return settings_.show(cluster); },
          .change_settings =
              [this](std::string_view cluster, std::string_view patch) {
                const SettingsAnswer answer = settings_.change(cluster, patch);
                noteTargets();
                return answer;
              },
          .token = [this] { return admin_token_; }};
}

ServerStatus Server::status() const {
  const ReloadStatus& reloads = reloads_.status();
  return {.version = version_,
          .state = state_,
          .uptime = loop_.now() - started_,
          .workers = static_cast<unsigned>(workers_.size()),
          .config_file = reloads_.file(),
          .reloads = reloads,
          .since_reload = loop_.now() - reloads.last.value_or(loop_.now())};
}

std::vector<ClusterStatus> Server::clusterStatuses() const {
  std::vector<ClusterStatus> statuses;
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    statuses.push_back(statusOf(*clusters_[i], *health_[i]));
    statuses.back().trouble = providers_[i]->trouble();
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

Result<std::unique_ptr<ReplicaProvider>> Server::makeProvider(std::size_t cluster_index) {
  const ClusterConfig& config = clusters_[cluster_index]->config();
  ReplicaHealth& health = *health_[cluster_index];
  if (std::holds_alternative<ProcessReplicas>(config.replicas)) {
    return std::make_unique<ProcessProvider>(loop_, config, ports_, health, metrics_, log_);
  }
  if (const auto* dns = std::get_if<DnsReplicas>(&config.replicas)) {
    auto lookup = net::DnsLookup::make(loop_, {.name = dns->name,
                                               .port = dns->port,
                                               .srv = dns->srv,
                                               .ipv4 = dns->family != AddressFamily::kIpv6,
                                               .ipv6 = dns->family != AddressFamily::kIpv4,
                                               .servers = parsed(dns->resolvers),
                                               .timeout = dns->timeout});
    if (!lookup) {
      return failure("cluster \"" + config.name + "\": " + lookup.error().message);
    }
    return std::make_unique<DnsProvider>(loop_, config, std::move(*lookup), health, metrics_, log_);
  }
  const auto& fixed = std::get<StaticReplicas>(config.replicas);
  auto provider = std::make_unique<StaticProvider>(loop_, health, parsed(fixed.addresses));
  static_providers_[cluster_index] = provider.get();
  return provider;
}

int Server::run() {
  net::SignalWatch on_terminate(loop_, SIGTERM,
                                [this] { state_ == ServerState::kDraining ? stop(1) : drain(); });
  net::SignalWatch on_interrupt(loop_, SIGINT, [this] { stop(1); });
  net::SignalWatch on_hang_up(loop_, SIGHUP, [this] {
    reopenLog();
    reloads_.add(takeOnFile(), loop_.now());
  });
  net::SignalWatch on_user(loop_, SIGUSR1, [this] { reopenLog(); });
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

void Server::reopenLog() {
  if (access_log_ == nullptr) {
    return;
  }
  const std::string& path = config_.access_log.path;
  if (auto reopened = access_log_->reopen(); !reopened) {
    log_.error("access log not opened again: the file opened before stays in use",
               {{"why", reopened.error().message}});
  } else {
    log_.info("access log opened again", {{"path", path}});
  }
}

Result<void> Server::takeOnFile() {
  auto file = loadConfig(reloads_.file());
  if (!file) {
    return std::unexpected(file.error());
  }
  const auto keys = keysThatNeedRestart(settings_.file(), *file);
  if (!keys.empty()) {
    return failure(fmt::format("only a restart changes {}", fmt::join(keys, ", ")));
  }
  auto token = readAdminToken(file->admin);
  if (!token) {
    return std::unexpected(token.error());
  }
  auto tls = readTlsFiles(listeners_, clusters_, cluster_tls_);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  if (auto taken = settings_.takeOn(std::move(*file)); !taken) {
    return taken;
  }
  noteTargets();
  warnOfSharedReplicas(settings_.file());
  admin_token_ = std::move(*token);
  for (RenewedTls& renewed : *tls) {
    renewed.context->use(std::move(renewed.native));
  }
  for (std::size_t i = 0; i < static_providers_.size(); ++i) {
    if (static_providers_[i] != nullptr) {
      static_providers_[i]->setAddresses(
          parsed(std::get<StaticReplicas>(settings_.file().clusters[i].replicas).addresses));
    }
  }
  return {};
}

void Server::warnOfSharedReplicas(const Config& config) {
  for (const SharedReplicas& shared : sharedReplicas(replicasOf(config))) {
    log_.warning("clusters share replicas", {{"why", shared.warning}});
  }
}

void Server::noteTargets() {
  for (const auto& health : health_) {
    health->noteTarget();
  }
}

void Server::drain() {
  state_ = ServerState::kDraining;
  log_.info("draining");
  if (scaler_server_ != nullptr) {
    scaler_server_->drain();
  }
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
        refuseNewcomers();
      }
    });
  }
}

void Server::refuseNewcomers() {
  for (const auto& worker : workers_) {
    worker->refuseNewcomers([this] {
      loop_.post([this] {
        if (++gone_workers_ == workers_.size()) {
          stop(0);
        }
      });
    });
  }
}

void Server::stop(int exit_status) {
  exit_status_ = exit_status;
  log_.info("stopping");
  loop_.stop();
}

}  // namespace penstock::proxy
