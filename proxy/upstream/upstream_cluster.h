#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/event_loop.h"
#include "net/http/connection_pool.h"
#include "net/tls.h"
#include "proxy/cluster/cluster.h"

namespace penstock::proxy {

class AbandonedRequest;
class CancelCall;

// One worker's view of one cluster: its inbox at the admission queue, its connection pools, and the
// requests that nobody waits for but that still run. Loop thread only.
class UpstreamCluster {
 public:
  // tls may be null; it and the cluster outlive this.
  UpstreamCluster(net::EventLoop& loop, Cluster& cluster, const net::TlsContext* tls);
  ~UpstreamCluster();

  Cluster& cluster() { return cluster_; }
  const ClusterConfig& config() const { return cluster_.config(); }
  net::EventLoop& loop() { return loop_; }
  Inbox& inbox() { return inbox_; }

  // Pools of replicas that are gone vanish with their last connection.
  http::ConnectionPool& pool(const Replica& replica);
  std::string nextAttemptId();

  void adopt(std::unique_ptr<AbandonedRequest> request);
  std::unique_ptr<AbandonedRequest> release(AbandonedRequest& request);
  std::size_t abandoned() const { return abandoned_.size(); }
  // Asks a sidecar to end a request early. Best effort.
  void cancel(const Replica& replica, const std::string& attempt_id);
  void endCancel(CancelCall& call);

 private:
  void collect();
  void sweep();

  net::EventLoop& loop_;
  Cluster& cluster_;
  net::Deferred collect_;
  Inbox inbox_;
  http::PoolSettings settings_;
  net::Timer sweep_;
  std::unordered_map<ReplicaId, std::unique_ptr<http::ConnectionPool>> pools_;
  std::unordered_map<AbandonedRequest*, std::unique_ptr<AbandonedRequest>> abandoned_;
  std::unordered_map<CancelCall*, std::unique_ptr<CancelCall>> cancels_;
  const std::string attempt_prefix_;
  std::uint64_t attempts_ = 0;
};

}  // namespace penstock::proxy
