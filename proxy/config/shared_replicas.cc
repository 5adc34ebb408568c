#include "proxy/config/shared_replicas.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace penstock::proxy {
namespace {

// So many are named, the others are counted.
constexpr std::size_t kNamed = 3;

std::vector<std::string> namesOf(const ReplicasConfig& replicas) {
  if (const auto* fixed = std::get_if<StaticReplicas>(&replicas)) {
    return fixed->addresses;
  }
  if (const auto* dns = std::get_if<DnsReplicas>(&replicas)) {
    return {dns->srv ? dns->name : fmt::format("{}:{}", dns->name, dns->port)};
  }
  return {};
}

std::string describe(const std::vector<std::string>& replicas) {
  const std::size_t named = std::min(replicas.size(), kNamed);
  std::string text = fmt::format(
      "{}",
      fmt::join(replicas.begin(), replicas.begin() + static_cast<std::ptrdiff_t>(named), ", "));
  if (replicas.size() > named) {
    text += fmt::format(" and {} more", replicas.size() - named);
  }
  return text;
}

}  // namespace

std::vector<SharedReplicas> sharedReplicas(const std::vector<ClusterReplicas>& clusters) {
  using Users = std::vector<std::size_t>;
  std::map<std::string, Users> users;
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    for (const std::string& replica : clusters[i].replicas) {
      Users& of_replica = users[replica];
      if (of_replica.empty() || of_replica.back() != i) {
        of_replica.push_back(i);
      }
    }
  }
  std::map<Users, std::vector<std::string>> groups;
  for (const auto& [replica, of_replica] : users) {
    if (of_replica.size() > 1) {
      groups[of_replica].push_back(replica);
    }
  }
  std::vector<SharedReplicas> result;
  for (const auto& [group, replicas] : groups) {
    SharedReplicas& shared = result.emplace_back();
    std::uint64_t sum = 0;
    for (const std::size_t i : group) {
      shared.clusters.push_back(clusters[i].cluster);
      sum += clusters[i].concurrency_target;
    }
    shared.warning = fmt::format(
        "clusters \"{}\" share {}: each replica there is sent up to {} requests at a time, the sum "
        "of their concurrency targets; use one cluster, or targets that add up to what a replica "
        "can take",
        fmt::join(shared.clusters, "\", \""), describe(replicas), sum);
  }
  return result;
}

std::vector<ClusterReplicas> replicasOf(const Config& config) {
  std::vector<ClusterReplicas> result;
  for (const ClusterConfig& cluster : config.clusters) {
    result.push_back({.cluster = cluster.name,
                      .concurrency_target = cluster.concurrency_target,
                      .replicas = namesOf(cluster.replicas)});
  }
  return result;
}

}  // namespace penstock::proxy
