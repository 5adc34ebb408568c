#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace penstock::proxy {

// Where one cluster sends its requests, as an operator would name it.
struct ClusterReplicas {
  std::string cluster;
  std::uint32_t concurrency_target = 1;
  std::vector<std::string> replicas;
};

// Clusters know nothing of each other: a replica that several of them use is sent the sum of their
// targets.
struct SharedReplicas {
  std::vector<std::string> clusters;  // at least two
  std::string warning;
};
// One for each group of clusters that share replicas, in order.
std::vector<SharedReplicas> sharedReplicas(const std::vector<ClusterReplicas>& clusters);

// As far as the configuration tells: the addresses of static replicas, the names of others.
// Processes belong to one cluster.
std::vector<ClusterReplicas> replicasOf(const Config& config);

}  // namespace penstock::proxy
