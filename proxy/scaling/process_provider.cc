#include "proxy/scaling/process_provider.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace penstock::proxy {

ProcessProvider::ProcessProvider(net::EventLoop& loop, const ClusterConfig& cluster,
                                 ReplicaHealth& health, Logger& logger, const RestartPolicy& policy)
    : cluster_(cluster.name), config_(std::get<ProcessReplicas>(cluster.replicas)) {
  const std::uint32_t count = std::max(cluster.autoscaling.min_replicas, 1u);
  for (std::uint32_t i = 0; i < count; ++i) {
    processes_.push_back(
        std::make_unique<ReplicaProcess>(loop, cluster_, config_, policy, health, logger));
  }
}

void ProcessProvider::start() {
  for (const auto& process : processes_) {
    process->start();
  }
}

void ProcessProvider::stop(std::move_only_function<void()> stopped) {
  stopped_ = std::move(stopped);
  running_ = processes_.size();
  for (const auto& process : processes_) {
    process->stop([this] {
      if (--running_ == 0) {
        stopped_();
      }
    });
  }
}

}  // namespace penstock::proxy
