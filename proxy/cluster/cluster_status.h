#pragma once

#include <string>
#include <vector>

#include "proxy/cluster/replica_health.h"

namespace penstock::proxy {

// What one wants to know of a cluster at a glance.
struct ClusterStatus {
  std::string name;
  AdmissionQueue::Snapshot queue;
  QueueConfig bounds;
  std::vector<ReplicaStatus> replicas;
  std::uint32_t predict_concurrency = 0;  // the highest reported
  std::string
      trouble{};  // why replicas that there should be are not there; empty if none is missing
};

inline ClusterStatus statusOf(const Cluster& cluster, const ReplicaHealth& health) {
  return {.name = cluster.name(),
          .queue = cluster.queue().snapshot(),
          .bounds = cluster.settings().queue,
          .replicas = health.replicas(),
          .predict_concurrency = health.loadReports().predictConcurrency()};
}

}  // namespace penstock::proxy
