#include "proxy/scaling/autoscaler.h"

namespace penstock::proxy {

Autoscaler::Autoscaler(net::EventLoop& loop, Cluster& cluster, const ReplicaHealth& health,
                       ReplicaScaler* scaler, Metrics& metrics, Logger& logger)
    : loop_(loop),
      cluster_(cluster),
      health_(health),
      scaler_(scaler),
      metrics_(metrics),
      logger_(logger),
      timer_(loop, [this] { tick(); }) {
  const MetricLabels labels{{"cluster", cluster.name()}};
  const auto gauge = [&](const char* name, const char* help) {
    return metrics.gauge(name, help, labels);
  };
  demand_ = gauge("penstock_cluster_demand",
                  "Requests waiting or in flight, mean over the autoscaling window.");
  short_demand_ = gauge("penstock_cluster_short_demand",
                        "Requests waiting or in flight, mean over a tenth of the window.");
  desired_ = gauge("penstock_cluster_desired_replicas", "Replicas that there should be.");
  ready_ = gauge("penstock_cluster_ready_replicas", "Replicas that get requests.");
  starting_ = gauge("penstock_cluster_starting_replicas", "Replicas that are on their way.");
  cluster.setWaitingListener([this] {
    loop_.post([this] {
      if (running_) {
        decide();
      }
    });
  });
  cluster.setSettingsListener([this](const ClusterSettings&) {
    if (running_) {
      decide();
    }
  });
}

Autoscaler::~Autoscaler() = default;

void Autoscaler::start() {
  running_ = true;
  tick();
}

void Autoscaler::stop() {
  running_ = false;
  timer_.disarm();
}

void Autoscaler::tick() {
  timer_.armAfter(kPeriod);
  // Before the look at the queue, so that nobody begins to wait unseen between the two.
  cluster_.tellWhenSomebodyWaits();
  decide();
}

Fleet Autoscaler::fleet() const {
  if (scaler_ != nullptr) {
    return scaler_->fleet();
  }
  Fleet fleet;
  for (const ReplicaStatus& replica : health_.replicas()) {
    fleet.ready += replica.state == ReplicaState::kReady ? 1 : 0;
    fleet.starting += replica.state == ReplicaState::kStarting ? 1 : 0;
  }
  return fleet;
}

void Autoscaler::decide() {
  const ClusterSettings settings = cluster_.settings();
  ScalingRecord record{.at = loop_.now(),
                       .settings = {.concurrency_target = settings.concurrency_target,
                                    .autoscaling = settings.autoscaling},
                       .fleet = fleet(),
                       .load = sampleOf(cluster_.queue().snapshot()),
                       .decision = {}};
  record.decision = policy_.decide(record.load, record.settings, record.fleet);
  const std::uint32_t replicas = record.decision.replicas;
  demand_.set(record.decision.desired.demand);
  short_demand_.set(record.decision.desired.short_demand);
  desired_.set(replicas);
  ready_.set(record.fleet.ready);
  starting_.set(record.fleet.starting);
  const std::uint32_t before = scaler_ == nullptr ? latest_.decision.replicas : record.fleet.size();
  keep(record);
  if (replicas != before) {
    log(record, before);
    if (scaler_ != nullptr) {
      scaler_->scaleTo(replicas);
    }
  }
  if (on_decision_) {
    on_decision_();
  }
}

void Autoscaler::setDecisionListener(std::move_only_function<void()> listener) {
  on_decision_ = std::move(listener);
}

void Autoscaler::keep(const ScalingRecord& record) {
  const bool changed = changes_.empty() || record.decision.replicas != latest_.decision.replicas ||
                       record.decision.reason != latest_.decision.reason;
  latest_ = record;
  if (changed) {
    changes_.push_back(record);
    if (changes_.size() > kKeptRecords) {
      changes_.pop_front();
    }
  }
}

void Autoscaler::log(const ScalingRecord& record, std::uint32_t from) const {
  const ScalingDecision& decision = record.decision;
  const auto number = [](auto n) { return static_cast<std::int64_t>(n); };
  logger_.info(scaler_ == nullptr ? "scaling advice" : "scaling",
               {{"cluster", cluster_.name()},
                {"from", number(from)},
                {"to", number(decision.replicas)},
                {"reason", toString(decision.reason)},
                {"demand", decision.desired.demand},
                {"short_demand", decision.desired.short_demand},
                {"waiting", number(record.load.waiting)},
                {"in_flight", number(record.load.in_flight)},
                {"ready", number(record.fleet.ready)},
                {"starting", number(record.fleet.starting)},
                {"concurrency_target", number(record.settings.concurrency_target)},
                {"target_utilization", number(record.settings.autoscaling.target_utilization)}});
  metrics_
      .counter("penstock_cluster_scalings_total", "Changes of the number of replicas, by reason.",
               {{"cluster", cluster_.name()},
                {"direction", decision.replicas > from ? "up" : "down"},
                {"reason", std::string(toString(decision.reason))}})
      .add();
}

ScalingStatus Autoscaler::status() const {
  return {.cluster = cluster_.name(),
          .advice_only = scaler_ == nullptr,
          .now = loop_.now(),
          .latest = latest_,
          .changes = {changes_.begin(), changes_.end()}};
}

}  // namespace penstock::proxy
