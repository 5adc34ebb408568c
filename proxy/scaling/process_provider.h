#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "net/event_loop.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/config/config.h"
#include "proxy/scaling/replica_process.h"
#include "proxy/scaling/replica_provider.h"

namespace penstock::proxy {

// Replicas that are processes of this machine: min_replicas of them, at least one, are kept
// running. They go down with this program. Loop thread only; that thread is to live as long as the
// program.
class ProcessProvider final : public ReplicaProvider {
 public:
  // cluster.replicas holds ProcessReplicas. Everything referred to outlives this.
  ProcessProvider(net::EventLoop& loop, const ClusterConfig& cluster, ReplicaHealth& health,
                  Logger& logger, const RestartPolicy& policy = {});

  void start() override;
  // Every process at once; stopped is called when the last one has ended.
  void stop(std::move_only_function<void()> stopped) override;

 private:
  const std::string cluster_;
  const ProcessReplicas config_;
  std::vector<std::unique_ptr<ReplicaProcess>> processes_;
  std::size_t running_ = 0;
  std::move_only_function<void()> stopped_;
};

}  // namespace penstock::proxy
