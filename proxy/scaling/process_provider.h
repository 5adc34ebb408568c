#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/config/config.h"
#include "proxy/scaling/loopback_ports.h"
#include "proxy/scaling/replica_process.h"
#include "proxy/scaling/replica_provider.h"

namespace penstock::proxy {

// Replicas that are processes of this machine: as many as it is told are kept running, min_replicas
// at first. They go down with this program. Loop thread only; that thread is to live as long as the
// program.
class ProcessProvider final : public ReplicaProvider, private ReplicaScaler {
 public:
  // cluster.replicas holds ProcessReplicas. Everything referred to outlives this.
  ProcessProvider(net::EventLoop& loop, const ClusterConfig& cluster, LoopbackPorts& ports,
                  ReplicaHealth& health, Metrics& metrics, Logger& logger,
                  const RestartPolicy& policy = {});

  void start() override;
  // Every process at once; stopped is called when the last one has ended.
  void stop(std::move_only_function<void()> stopped) override;
  ReplicaScaler* scaler() override { return this; }
  std::string trouble() const override;

 private:
  using Processes = std::vector<std::unique_ptr<ReplicaProcess>>;

  void scaleTo(std::uint32_t replicas) override;
  Fleet fleet() const override;
  // The one that is missed least.
  Processes::iterator leastNeeded();
  void retire(Processes::iterator process);
  // One that still drains gets requests again; false if there is none.
  bool takeOneBack();

  net::EventLoop& loop_;
  const std::string cluster_;
  const ProcessReplicas config_;
  const std::uint32_t initial_;
  const RestartPolicy policy_;
  LoopbackPorts& ports_;
  ReplicaHealth& health_;
  Logger& logger_;
  ReplicaTimes times_;
  Processes processes_;
  Processes retiring_;  // they finish what they have
  std::size_t running_ = 0;
  std::move_only_function<void()> stopped_;
};

}  // namespace penstock::proxy
