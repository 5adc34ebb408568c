#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "proxy/cluster/cluster.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/scaling/replica_provider.h"
#include "proxy/scaling/scaling_policy.h"

namespace penstock::proxy {

// One decision with all that it was made from.
struct ScalingRecord {
  TimePoint at;
  ScalingSettings settings;
  Fleet fleet;
  LoadSample load;
  ScalingDecision decision;
};

// What one wants to know of a cluster's scaling at a glance.
struct ScalingStatus {
  std::string cluster;
  bool advice_only = false;  // somebody else starts and stops the replicas
  TimePoint now;
  ScalingRecord latest;
  std::vector<ScalingRecord> changes;  // oldest first; those that changed the number or its reason
};

// Asks the policy of one cluster every second, and at once when somebody begins to wait or
// the settings change; tells the
// scaler, where there is one; says why in the log and the metrics. Loop thread only.
class Autoscaler {
 public:
  static constexpr Duration kPeriod = std::chrono::seconds(1);
  static constexpr std::size_t kKeptRecords = 100;

  // scaler may be null. Everything referred to outlives this; made before the workers begin and
  // destroyed after they have ended.
  Autoscaler(net::EventLoop& loop, Cluster& cluster, const ReplicaHealth& health,
             ReplicaScaler* scaler, Metrics& metrics, Logger& logger);
  ~Autoscaler();
  Autoscaler(const Autoscaler&) = delete;
  Autoscaler& operator=(const Autoscaler&) = delete;

  // Decides now, and from now on.
  void start();
  // Decides nothing any more.
  void stop();

  ScalingStatus status() const;
  const ScalingRecord& latest() const { return latest_; }
  // Called after each decision, whether it changes anything or not.
  void setDecisionListener(std::move_only_function<void()> listener);

 private:
  void decide();
  void tick();
  Fleet fleet() const;
  void keep(const ScalingRecord& record);
  void log(const ScalingRecord& record, std::uint32_t from) const;

  net::EventLoop& loop_;
  Cluster& cluster_;
  const ReplicaHealth& health_;
  ReplicaScaler* const scaler_;
  Metrics& metrics_;
  Logger& logger_;
  ScalingPolicy policy_;
  ScalingRecord latest_;
  std::deque<ScalingRecord> changes_;
  Gauge demand_;
  Gauge short_demand_;
  Gauge desired_;
  Gauge ready_;
  Gauge starting_;
  std::move_only_function<void()> on_decision_;
  bool running_ = false;
  net::Timer timer_;
};

}  // namespace penstock::proxy
