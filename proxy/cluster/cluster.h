#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "net/http/pool_figures.h"
#include "proxy/cluster/admission_queue.h"
#include "proxy/config/config.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// One model deployment: its configuration, its admission queue, its metrics, and what the workers
// tell about its replicas. Thread-safe. Outlives everything that serves its requests; metrics
// outlives it, but renders no page after it is gone (the queue's figures are read when a page is
// made).
class Cluster {
 public:
  Cluster(const ClusterConfig& config, const Clock& clock, Metrics& metrics);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // As of the start; what of it may change since is in settings().
  const ClusterConfig& config() const { return config_; }
  const std::string& name() const { return config_.name; }
  AdmissionQueue& queue() { return queue_; }
  const AdmissionQueue& queue() const { return queue_; }
  Metrics& metrics() { return metrics_; }
  // Of the workers' connections to its replicas.
  http::PoolFigures& connectionFigures() { return connection_figures_; }

  // The settings in effect.
  ClusterSettings settings() const;
  // How long a request that asks now may wait. No lock.
  Duration queueTimeout() const { return queue_timeout_.load(std::memory_order_relaxed); }
  // Puts them into effect; they are valid (see contradiction()). Who waits or runs goes on: a lower
  // target takes slots as they come back, lower bounds and another timeout are for who comes later.
  // Tells the listener, if there is one, on this thread. Main loop only.
  void changeSettings(const ClusterSettings& settings);
  void setSettingsListener(std::move_only_function<void(const ClusterSettings&)> listener);

  // One request has ended: counted by status and reason; where there is a reason, under the status
  // that goes with it, whatever the client saw of the answer. No lock after the first of its kind.
  void countOutcome(int status, Reason reason);
  void observeWaiting(Duration waited);
  void observeTotal(Duration total);
  void countRetry();
  // A request has begun to wait. Called for each; the listener hears of the first after
  // tellWhenSomebodyWaits().
  void requestWaits();
  void tellWhenSomebodyWaits();
  // Called from any worker; set before traffic begins.
  void setWaitingListener(std::move_only_function<void() const> listener);
  // The replica refused a request because it counted more than its limit.
  void countLimitExceeded();
  // The replica refused the request of this slot: it gets no other for now, and the listener is
  // notified, who decides when the next may try.
  void replicaRefused(Slot& slot);

  // Passive health: the replica answered (anything below 502), or failed (could not be connected
  // to, broke the connection or the protocol). Too many failures in a row tell the listener, once.
  void replicaAnswered(Replica& replica);
  void replicaFailed(Replica& replica);
  // It could not be connected to, and why: it is out of the queue at once, so that nobody else
  // tries, and the listener is told, who finds out when it is back.
  void replicaUnreachable(Replica& replica, std::string_view why);
  // It said that it is a sidecar; the listener is told the first time.
  void replicaIsSidecar(Replica& replica);
  // An answer of it carried a load report, in the form of the header. The listener is told of one
  // in a while: a busy replica must not keep it busy.
  void replicaReported(Replica& replica, std::string_view report, TimePoint now);
  // Called from any worker; set before traffic begins.
  void setSidecarListener(std::move_only_function<void(ReplicaId) const> listener);
  void setReportListener(std::move_only_function<void(ReplicaId, std::string) const> listener);
  void setFailureListener(std::move_only_function<void(ReplicaId) const> listener);
  void setUnreachableListener(std::move_only_function<void(ReplicaId, std::string) const> listener);
  void setRefusalListener(
      std::move_only_function<void(ReplicaId, std::uint32_t in_a_row) const> listener);

 private:
  void publishQueue();
  void publishConnections();
  Counter makeRequestCounter(int status, std::string_view reason);
  Counter& requestCounter(std::atomic<Counter*>& place, int status, std::string_view reason);

  const ClusterConfig config_;
  mutable std::mutex settings_mutex_;
  ClusterSettings settings_;
  std::atomic<Duration> queue_timeout_;
  std::move_only_function<void(const ClusterSettings&)> on_settings_;
  Metrics& metrics_;
  AdmissionQueue queue_;
  http::PoolFigures connection_figures_;
  std::move_only_function<void(ReplicaId) const> on_failing_;
  std::move_only_function<void(ReplicaId, std::string) const> on_unreachable_;
  std::move_only_function<void(ReplicaId, std::uint32_t in_a_row) const> on_refusal_;
  std::move_only_function<void(ReplicaId) const> on_sidecar_;
  std::move_only_function<void(ReplicaId, std::string) const> on_report_;
  std::move_only_function<void() const> on_waiting_;
  std::atomic<bool> tell_of_waiting_{false};
  Histogram waiting_seconds_;
  Histogram request_seconds_;
  Counter retries_;
  Counter refusals_;
  Counter limit_exceeded_;
  std::mutex outcomes_mutex_;
  // By status 0 … 999 for answers of replicas, by reason for local replies; made when first needed.
  std::array<std::atomic<Counter*>, 1000> answers_{};
  std::array<std::atomic<Counter*>, kReasons> local_replies_{};
  std::vector<std::unique_ptr<Counter>> counters_;
};

}  // namespace penstock::proxy
