#include "proxy/cluster/load_reports.h"

#include <algorithm>
#include <utility>

namespace penstock::proxy {
namespace {

// A report may have been under way for so long when the target changed, or a request ended.
constexpr Duration kSettled = std::chrono::seconds(1);
// A replica that says one thing and then another must not fill the log.
constexpr Duration kBetweenLogLines = std::chrono::seconds(10);

bool gateIsFree(const LoadReport& report) {
  return report.predict_in_flight.has_value() && report.predict_concurrency.has_value() &&
         *report.predict_in_flight + report.gate_waiting.value_or(0) < *report.predict_concurrency;
}

bool takesMore(const LoadReport& report) {
  return !report.draining && report.in_flight.value_or(0) < report.limit.value_or(UINT32_MAX);
}

// Nothing that the replica or its container can be blamed for.
bool isOrdinary(LoadReportsEnd end) {
  return end == LoadReportsEnd::kFinished || end == LoadReportsEnd::kLost ||
         end == LoadReportsEnd::kUnimplemented;
}

}  // namespace

std::string_view toString(LoadReportSource source) {
  switch (source) {
    case LoadReportSource::kStream:
      return "stream";
    case LoadReportSource::kInBand:
      return "in_band";
    case LoadReportSource::kOwn:
      return "own";
  }
  return "own";
}

struct LoadReports::Entry final : LoadReportSubscription::Listener {
  Entry(LoadReports& owner, Replica& its_replica)
      : reports(owner),
        replica(its_replica),
        leaving_is_over(owner.loop_, [this] { reports.setLeaving(*this, false); }) {}
  void onLoadReport(const ParsedLoadReport& report) override {
    reports.take(*this, LoadReportSource::kStream, report);
  }
  void onLoadReportsEnd(LoadReportsEnd end, Duration pause) override {
    reports.onStreamEnd(*this, end, pause);
  }
  bool holds(TimePoint now) const {
    return latest.has_value() && now - latest_at < LoadReports::kStaleAfter;
  }

  LoadReports& reports;
  Replica& replica;
  net::Timer leaving_is_over;
  std::optional<LoadReport> latest;
  LoadReportSource latest_source = LoadReportSource::kOwn;
  TimePoint latest_at{};
  std::uint64_t rejected = 0;
  TimePoint quiet_of_rejection_until{};
  std::optional<LoadReportsEnd> stream_ended;
  std::optional<LoadReportsEnd> told_of_end;
  bool told_of_duplicate = false;
  // The most that it may have: what a higher target let in may still run.
  std::uint32_t allowed = 0;
  std::uint32_t target = 0;
  std::optional<TimePoint> within_target_since;
  bool exceeds = false;
  TimePoint quiet_of_exceeding_until{};
  std::uint64_t target_exceeded = 0;
  std::optional<LoadReportSubscription> subscription;
};

LoadReports::LoadReports(net::EventLoop& loop, Cluster& cluster,
                         const LoadReportSubscription::Settings& subscription, Logger& logger)
    : loop_(loop), cluster_(cluster), subscription_(subscription), logger_(logger) {
  subscription_.interval = kInterval;
  subscription_.silence = kStaleAfter;
  Metrics& metrics = cluster.metrics();
  const auto labels = [&](const char* label, std::string_view value) {
    return MetricLabels{{"cluster", cluster.name()}, {label, std::string(value)}};
  };
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    taken_[i] = metrics.counter("penstock_load_reports_total", "Load reports of replicas.",
                                labels("source", toString(static_cast<LoadReportSource>(i))));
  }
  for (std::size_t i = 0; i < rejected_.size(); ++i) {
    rejected_[i] = metrics.counter("penstock_load_reports_rejected_total",
                                   "Load reports that cannot be believed and were ignored.",
                                   labels("reason", toString(static_cast<LoadReportFault>(i))));
  }
  for (std::size_t i = 0; i < streams_ended_.size(); ++i) {
    streams_ended_[i] =
        metrics.counter("penstock_load_report_streams_ended_total",
                        "Streams of load reports that have ended, by what ended them.",
                        labels("reason", toString(static_cast<LoadReportsEnd>(i))));
  }
  const MetricLabels cluster_only{{"cluster", cluster.name()}};
  target_exceeded_ =
      metrics.counter("penstock_cluster_target_exceeded_total",
                      "Times that a replica came to report more requests in flight than the "
                      "concurrency target.",
                      cluster_only);
  predict_concurrency_ = metrics.gauge(
      "penstock_cluster_predict_concurrency",
      "The highest predict concurrency that a replica has reported; 0: none.", cluster_only);
  target_too_low_ = metrics.gauge(
      "penstock_cluster_target_below_predict_concurrency",
      "1: the concurrency target is too low for the predict concurrency to be used.", cluster_only);
}

LoadReports::~LoadReports() = default;

LoadReports::Entry* LoadReports::find(ReplicaId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : it->second.get();
}

void LoadReports::add(Replica& replica, bool subscribe) {
  std::unique_ptr<Entry>& entry = entries_[replica.id];
  if (entry != nullptr) {
    return;
  }
  entry = std::make_unique<Entry>(*this, replica);
  updateAllowed(*entry, cluster_.queue().snapshot().target);
  if (subscribe) {
    entry->subscription.emplace(loop_, replica.address, subscription_, *entry);
  }
}

void LoadReports::remove(ReplicaId id) {
  if (entries_.erase(id) > 0) {
    compareConcurrency(cluster_.queue().snapshot().target);
  }
}

void LoadReports::takeInBand(ReplicaId id, const ParsedLoadReport& report) {
  Entry* entry = find(id);
  const bool has_stream = entry != nullptr && entry->latest_source == LoadReportSource::kStream &&
                          entry->holds(loop_.now());
  if (entry != nullptr && !has_stream) {
    take(*entry, LoadReportSource::kInBand, report);
  }
}

void LoadReports::take(Entry& entry, LoadReportSource source, const ParsedLoadReport& report) {
  if (!report.has_value()) {
    reject(entry, report.error());
    return;
  }
  taken_[static_cast<std::size_t>(source)].add();
  entry.latest = *report;
  entry.latest_source = source;
  entry.latest_at = loop_.now();
  if (source == LoadReportSource::kStream) {
    entry.replica.stream_holds_until.store(entry.latest_at + kStaleAfter,
                                           std::memory_order_relaxed);
    entry.stream_ended.reset();
    entry.told_of_end.reset();
  }
  prefer(entry, *report);
  const std::uint32_t target = cluster_.queue().snapshot().target;
  compareWithTarget(entry, *report, target);
  compareConcurrency(target);
}

void LoadReports::reject(Entry& entry, LoadReportFault fault) {
  rejected_[static_cast<std::size_t>(fault)].add();
  ++entry.rejected;
  if (loop_.now() >= entry.quiet_of_rejection_until) {
    entry.quiet_of_rejection_until = loop_.now() + kBetweenLogLines;
    logger_.warning(
        "a replica's load report cannot be believed",
        {{"cluster", cluster_.name()}, {"address", entry.replica.name}, {"why", toString(fault)}});
  }
}

void LoadReports::onStreamEnd(Entry& entry, LoadReportsEnd end, Duration pause) {
  streams_ended_[static_cast<std::size_t>(end)].add();
  entry.stream_ended = end;
  if (end == LoadReportsEnd::kLost) {
    // The process that drained is gone; another may be at its address.
    setLeaving(entry, false);
  }
  const bool announced =
      end == LoadReportsEnd::kFinished && entry.latest.has_value() && entry.latest->draining;
  if (!announced && entry.told_of_end != end) {
    entry.told_of_end = end;
    logger_.log(isOrdinary(end) ? LogLevel::kInfo : LogLevel::kWarning,
                "no stream of load reports from a replica",
                {{"cluster", cluster_.name()},
                 {"address", entry.replica.name},
                 {"why", toString(end)},
                 {"again_in_seconds", inSeconds(pause)}});
  }
}

void LoadReports::prefer(Entry& entry, const LoadReport& report) {
  const TimePoint now = loop_.now();
  cluster_.queue().setGateFreeUntil(entry.replica.id,
                                    gateIsFree(report) ? now + kStaleAfter : TimePoint::min());
  const Entry* const used = original(entry, report);
  setLeaving(entry, report.draining || used != nullptr);
  if (used != nullptr) {
    warnOfDuplicate(entry, *used);
  }
  if (entry.replica.refusing.load(std::memory_order_relaxed) && takesMore(report)) {
    cluster_.queue().reopen(entry.replica.id);
  }
}

// A process under two addresses would get twice its target.
const LoadReports::Entry* LoadReports::original(const Entry& entry,
                                                const LoadReport& report) const {
  const auto same = std::ranges::find_if(entries_, [&](const auto& other) {
    return report.incarnation.has_value() && other.first < entry.replica.id &&
           other.second->holds(loop_.now()) &&
           other.second->latest->incarnation == report.incarnation;
  });
  return same == entries_.end() ? nullptr : same->second.get();
}

void LoadReports::warnOfDuplicate(Entry& entry, const Entry& used) {
  if (!std::exchange(entry.told_of_duplicate, true)) {
    logger_.warning("two replicas are one process: only one of the two addresses is used",
                    {{"cluster", cluster_.name()},
                     {"address", entry.replica.name},
                     {"used", used.replica.name}});
  }
}

void LoadReports::setLeaving(Entry& entry, bool leaving) {
  if (leaving) {
    entry.leaving_is_over.armAfter(kLeavingHolds);
  } else {
    entry.leaving_is_over.disarm();
  }
  cluster_.queue().setLeaving(entry.replica.id, leaving);
}

void LoadReports::noteTarget() {
  const std::uint32_t target = cluster_.queue().snapshot().target;
  for (const auto& [id, entry] : entries_) {
    updateAllowed(*entry, target);
  }
}

void LoadReports::updateAllowed(Entry& entry, std::uint32_t target) {
  if (target < entry.target) {
    entry.within_target_since.reset();
  }
  entry.target = target;
  const TimePoint now = loop_.now();
  const std::uint32_t ours = cluster_.queue().inFlight(entry.replica.id);
  entry.allowed = std::max({entry.allowed, target, ours});
  if (ours > target) {
    entry.within_target_since.reset();
  } else if (!entry.within_target_since.has_value()) {
    entry.within_target_since = now;
  } else if (now - *entry.within_target_since >= kSettled) {
    entry.allowed = target;
  }
}

void LoadReports::compareWithTarget(Entry& entry, const LoadReport& report, std::uint32_t target) {
  updateAllowed(entry, target);
  const TimePoint now = loop_.now();
  const std::uint32_t in_flight = report.in_flight.value_or(0);
  const bool exceeds = in_flight > entry.allowed;
  if (exceeds && !entry.exceeds) {
    target_exceeded_.add();
    ++entry.target_exceeded;
  }
  if (exceeds && now >= entry.quiet_of_exceeding_until) {
    entry.quiet_of_exceeding_until = now + kBetweenLogLines;
    logger_.warning("a replica has more requests in flight than the concurrency target",
                    {{"cluster", cluster_.name()},
                     {"address", entry.replica.name},
                     {"in_flight", std::int64_t{in_flight}},
                     {"concurrency_target", std::int64_t{entry.allowed}}});
  }
  entry.exceeds = exceeds;
}

void LoadReports::compareConcurrency(std::uint32_t target) {
  const std::uint32_t concurrency = predictConcurrency();
  const bool too_low = target < concurrency;
  predict_concurrency_.set(concurrency);
  target_too_low_.set(too_low ? 1 : 0);
  const bool news = too_low != told_too_low_ ||
                    (too_low && (target != told_target_ || concurrency != told_concurrency_));
  if (!news || loop_.now() < quiet_until_) {
    return;
  }
  quiet_until_ = loop_.now() + kBetweenLogLines;
  told_too_low_ = too_low;
  told_target_ = target;
  told_concurrency_ = concurrency;
  logger_.log(too_low ? LogLevel::kWarning : LogLevel::kInfo,
              too_low ? "the concurrency target is below the predict concurrency of replicas, "
                        "which cannot be reached"
                      : "the concurrency target is no longer below the predict concurrency",
              {{"cluster", cluster_.name()},
               {"concurrency_target", std::int64_t{target}},
               {"predict_concurrency", std::int64_t{concurrency}}});
}

std::optional<LoadReportStatus> LoadReports::status(ReplicaId id) const {
  const Entry* entry = find(id);
  if (entry == nullptr) {
    return std::nullopt;
  }
  const TimePoint now = loop_.now();
  return LoadReportStatus{
      .source = entry->holds(now) ? entry->latest_source : LoadReportSource::kOwn,
      .report = entry->latest,
      .age = entry->latest.has_value() ? now - entry->latest_at : Duration::zero(),
      .rejected = entry->rejected,
      .target_exceeded = entry->target_exceeded,
      .stream_ended = entry->stream_ended};
}

std::uint32_t LoadReports::predictConcurrency() const {
  std::uint32_t highest = 0;
  for (const auto& [id, entry] : entries_) {
    if (entry->latest.has_value()) {
      highest = std::max(highest, entry->latest->predict_concurrency.value_or(0));
    }
  }
  return highest;
}

}  // namespace penstock::proxy
