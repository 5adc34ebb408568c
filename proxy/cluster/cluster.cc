#include "proxy/cluster/cluster.h"

#include <algorithm>

namespace penstock::proxy {
namespace {

// As often as a sidecar pushes reports on a stream.
constexpr Duration kBetweenInBandReports = std::chrono::milliseconds(100);

AdmissionQueue::Settings queueSettings(const ClusterConfig& config) {
  return {
      .concurrency_target = config.concurrency_target,
      .max_requests = config.queue.max_requests,
      .max_bytes = config.queue.max_bytes.count,
      .retry_budget_percent = config.retry.budget,
      .min_retries = config.retry.min_concurrent,
  };
}

}  // namespace

Cluster::Cluster(const ClusterConfig& config, const Clock& clock, Metrics& metrics)
    : config_(config),
      settings_(config),
      queue_timeout_(config.queue.timeout),
      metrics_(metrics),
      queue_(clock, queueSettings(config)) {
  const MetricLabels labels{{"cluster", config_.name}};
  waiting_seconds_ =
      metrics.histogram("penstock_cluster_waiting_seconds",
                        "Time that a request waited for a slot.", labels, Metrics::latencyBounds());
  request_seconds_ =
      metrics.histogram("penstock_cluster_request_seconds", "Time from a request to its end.",
                        labels, Metrics::latencyBounds());
  retries_ = metrics.counter("penstock_cluster_retries_total",
                             "Requests put back to be sent again, those refused included.", labels);
  refusals_ = metrics.counter("penstock_cluster_replica_refusals_total",
                              "Requests that a replica refused without running them.", labels);
  limit_exceeded_ = metrics.counter(
      "penstock_cluster_limit_exceeded_total",
      "Refusals by a replica that counted more requests than its limit; stays 0.", labels);
  publishQueue();
  publishConnections();
}

void Cluster::publishQueue() {
  struct Figure {
    const char* name;
    const char* help;
    bool counter;
    double (*read)(const AdmissionQueue::Snapshot&);
  };
  using Snapshot = AdmissionQueue::Snapshot;
  static constexpr Figure kFigures[] = {
      {"penstock_cluster_waiting", "Requests that wait for a slot.", false,
       [](const Snapshot& s) { return static_cast<double>(s.waiting); }},
      {"penstock_cluster_in_flight", "Requests that have a slot.", false,
       [](const Snapshot& s) { return static_cast<double>(s.in_flight); }},
      {"penstock_cluster_arrivals_total", "Requests that asked for a slot.", true,
       [](const Snapshot& s) { return static_cast<double>(s.arrivals); }},
      {"penstock_cluster_in_flight_time_seconds_total", "Time integral of the requests in flight.",
       true, [](const Snapshot& s) { return s.in_flight_seconds; }},
      {"penstock_cluster_waiting_time_seconds_total", "Time integral of the requests waiting.",
       true, [](const Snapshot& s) { return s.waiting_seconds; }},
      {"penstock_cluster_slot_idle_while_waiting_seconds_total",
       "Time that slots were idle while a request waited for them.", true,
       [](const Snapshot& s) { return s.idle_while_waiting_seconds; }},
  };
  for (const Figure& figure : kFigures) {
    metrics_.callback(figure.name, figure.help, {{"cluster", config_.name}}, figure.counter,
                      [this, read = figure.read] { return read(queue_.snapshot()); });
  }
}

void Cluster::publishConnections() {
  const MetricLabels labels{{"cluster", config_.name}};
  metrics_.callback("penstock_cluster_connections",
                    "Connections of the workers to replicas, those being made included.", labels,
                    false, [this] { return static_cast<double>(connection_figures_.open.load()); });
  metrics_.callback("penstock_cluster_connections_opened_total",
                    "Connections that the workers have begun to make to replicas.", labels, true,
                    [this] { return static_cast<double>(connection_figures_.opened.load()); });
  metrics_.callback("penstock_cluster_stream_timeouts_total",
                    "Requests put back because a replica allowed no stream for connect_timeout.",
                    labels, true,
                    [this] { return static_cast<double>(connection_figures_.no_stream.load()); });
}

ClusterSettings Cluster::settings() const {
  std::lock_guard lock(settings_mutex_);
  return settings_;
}

void Cluster::changeSettings(const ClusterSettings& settings) {
  {
    std::lock_guard lock(settings_mutex_);
    settings_ = settings;
  }
  queue_timeout_.store(settings.queue.timeout, std::memory_order_relaxed);
  queue_.setBounds(settings.queue.max_requests, settings.queue.max_bytes.count);
  queue_.setTarget(settings.concurrency_target);
  if (on_settings_) {
    on_settings_(settings);
  }
}

void Cluster::setSettingsListener(std::move_only_function<void(const ClusterSettings&)> listener) {
  on_settings_ = std::move(listener);
}

void Cluster::countOutcome(int status, Reason reason) {
  if (reason == Reason::kNone) {
    const auto index = static_cast<std::size_t>(std::clamp(status, 0, 999));
    requestCounter(answers_[index], status, outcomeOf(reason).name).add();
    return;
  }
  const Outcome& outcome = outcomeOf(reason);
  if (status == outcome.status || status == 0) {
    requestCounter(local_replies_[static_cast<std::size_t>(reason)], outcome.status, outcome.name)
        .add();
  } else {
    // Its client had been told otherwise before, or reads the status of gRPC.
    makeRequestCounter(status, outcome.name).add();
  }
}

Counter Cluster::makeRequestCounter(int status, std::string_view reason) {
  return metrics_.counter("penstock_cluster_requests_total",
                          "Requests that have ended, by outcome.",
                          {{"cluster", config_.name},
                           {"code", std::to_string(status)},
                           {"reason", std::string(reason)}});
}

Counter& Cluster::requestCounter(std::atomic<Counter*>& place, int status,
                                 std::string_view reason) {
  if (Counter* counter = place.load(std::memory_order_acquire)) {
    return *counter;
  }
  std::lock_guard lock(outcomes_mutex_);
  Counter* counter = place.load(std::memory_order_relaxed);
  if (counter == nullptr) {
    counters_.push_back(std::make_unique<Counter>(makeRequestCounter(status, reason)));
    counter = counters_.back().get();
    place.store(counter, std::memory_order_release);
  }
  return *counter;
}

void Cluster::observeWaiting(Duration waited) {
  waiting_seconds_.observe(inSeconds(waited));
}

void Cluster::observeTotal(Duration total) {
  request_seconds_.observe(inSeconds(total));
}

void Cluster::countRetry() {
  retries_.add();
}

void Cluster::countLimitExceeded() {
  limit_exceeded_.add();
}

void Cluster::replicaRefused(Slot& slot) {
  refusals_.add();
  const ReplicaId id = slot.replica().id;
  if (const std::uint32_t in_a_row = slot.refused(); in_a_row > 0 && on_refusal_) {
    on_refusal_(id, in_a_row);
  }
}

void Cluster::replicaAnswered(Replica& replica) {
  // Most answers follow an answer: do not make the cache line move for them.
  if (replica.consecutive_failures.load(std::memory_order_relaxed) != 0) {
    replica.consecutive_failures.store(0, std::memory_order_relaxed);
  }
}

void Cluster::replicaFailed(Replica& replica) {
  const std::uint32_t failures =
      replica.consecutive_failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if (failures == config_.ejection.consecutive_failures && on_failing_) {
    on_failing_(replica.id);
  }
}

void Cluster::replicaUnreachable(Replica& replica, std::string_view why) {
  if (!replica.unreachable.exchange(true)) {
    queue_.setAvailable(replica.id, false);
    if (on_unreachable_) {
      on_unreachable_(replica.id, std::string(why));
    }
  }
}

void Cluster::replicaIsSidecar(Replica& replica) {
  if (replica.kind.exchange(ReplicaKind::kSidecar) != ReplicaKind::kSidecar && on_sidecar_) {
    on_sidecar_(replica.id);
  }
}

void Cluster::setSidecarListener(std::move_only_function<void(ReplicaId) const> listener) {
  on_sidecar_ = std::move(listener);
}

void Cluster::replicaReported(Replica& replica, std::string_view report, TimePoint now) {
  TimePoint due = replica.in_band_due.load(std::memory_order_relaxed);
  if (on_report_ && now >= due &&
      replica.in_band_due.compare_exchange_strong(due, now + kBetweenInBandReports,
                                                  std::memory_order_relaxed)) {
    on_report_(replica.id, std::string(report));
  }
}

void Cluster::setReportListener(
    std::move_only_function<void(ReplicaId, std::string) const> listener) {
  on_report_ = std::move(listener);
}

void Cluster::requestWaits() {
  // Mostly false: read before writing, so that the cache line stays shared.
  if (tell_of_waiting_.load(std::memory_order_relaxed) && tell_of_waiting_.exchange(false)) {
    on_waiting_();
  }
}

void Cluster::tellWhenSomebodyWaits() {
  tell_of_waiting_.store(true);
}

void Cluster::setWaitingListener(std::move_only_function<void() const> listener) {
  on_waiting_ = std::move(listener);
}

void Cluster::setUnreachableListener(
    std::move_only_function<void(ReplicaId, std::string) const> listener) {
  on_unreachable_ = std::move(listener);
}

void Cluster::setRefusalListener(
    std::move_only_function<void(ReplicaId, std::uint32_t in_a_row) const> listener) {
  on_refusal_ = std::move(listener);
}

void Cluster::setFailureListener(std::move_only_function<void(ReplicaId) const> listener) {
  on_failing_ = std::move(listener);
}

}  // namespace penstock::proxy
