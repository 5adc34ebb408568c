#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "proxy/admin/admin_server.h"
#include "proxy/admin/scaler_server.h"
#include "proxy/cluster/cluster.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/config/overrides.h"
#include "proxy/http/buffer_budget.h"
#include "proxy/listener_shared.h"
#include "proxy/scaling/autoscaler.h"
#include "proxy/scaling/loopback_ports.h"
#include "proxy/scaling/replica_provider.h"
#include "proxy/scaling/static_provider.h"
#include "proxy/settings/reload_record.h"
#include "proxy/settings/runtime_settings.h"
#include "proxy/worker.h"

namespace penstock::proxy {

// The whole proxy, composed from a configuration: listeners → workers (filter chain, router) →
// clusters (admission queue, replicas), with the admin server and the replica providers on the main
// loop.
class Server {
 public:
  // Binds every port; nothing is served yet. An error says which listener, file or address is at
  // fault.
  static Result<std::unique_ptr<Server>> make(const StartConfig& start, std::string version,
                                              std::uint32_t workers, const Clock& clock,
                                              Logger& log);
  ~Server();

  // Serves until SIGTERM (drains: everything admitted is finished, then 0) or SIGINT or a second
  // SIGTERM (stops at once, 1); SIGHUP reads the configuration again and opens the access log
  // again, SIGUSR1 only the log. Returns the process's exit status.
  int run();

 private:
  Server(const StartConfig& start, std::string version, const Clock& clock, Logger& log);

  Result<void> open(std::uint32_t workers);
  Result<void> openClusters();
  Result<void> openListeners(std::uint32_t workers);
  Result<void> openAdmin();
  Result<void> openExternalScaler();
  AdminSources adminSources();
  ServerStatus status() const;
  std::vector<ClusterStatus> clusterStatuses() const;
  std::vector<ScalingStatus> scalingStatuses() const;
  Result<std::unique_ptr<ReplicaProvider>> makeProvider(std::size_t cluster_index);
  // The file as it is now, wholly or not at all.
  Result<void> takeOnFile();
  // For a file that was renamed.
  void reopenLog();
  void noteTargets();
  void warnOfSharedReplicas(const Config& config);
  void drain();
  void onWorkerDrained();
  void stopReplicas();
  void refuseNewcomers();
  void stop(int exit_status);

  const Config config_;  // as of the start, with its overrides
  const std::string version_;
  const Clock& clock_;
  const TimePoint started_;
  Logger& log_;
  net::EventLoop loop_;
  Metrics metrics_;
  BufferBudget budget_;
  std::unique_ptr<LineSink> access_log_;
  std::vector<std::unique_ptr<Cluster>> clusters_;
  std::vector<std::unique_ptr<net::TlsContext>> cluster_tls_;
  std::vector<std::unique_ptr<ListenerShared>> listeners_;
  // By cluster.
  std::vector<std::unique_ptr<ReplicaHealth>> health_;
  LoopbackPorts ports_;  // of process replicas
  std::vector<std::unique_ptr<ReplicaProvider>> providers_;
  std::vector<StaticProvider*> static_providers_;  // null: of another kind
  std::vector<std::unique_ptr<Autoscaler>> autoscalers_;
  RuntimeSettings settings_;
  ReloadRecord reloads_;
  std::string admin_token_;
  WorkerContext worker_context_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<ScalerServer> scaler_server_;  // null: not configured
  ServerState state_ = ServerState::kStarting;
  std::size_t drained_workers_ = 0;
  std::size_t gone_workers_ = 0;
  std::size_t stopped_providers_ = 0;
  int exit_status_ = 0;
};

}  // namespace penstock::proxy
