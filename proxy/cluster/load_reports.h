#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/load_report/load_report.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "proxy/cluster/cluster.h"
#include "proxy/cluster/load_report_subscription.h"

namespace penstock::proxy {

// Where what is known of a replica's load comes from, the best first.
enum class LoadReportSource : std::uint8_t { kStream, kInBand, kOwn };
// "stream", "in_band", "own".
std::string_view toString(LoadReportSource source);

// What a replica says of its load, as of now.
struct LoadReportStatus {
  LoadReportSource source = LoadReportSource::kOwn;  // kOwn: it says nothing that is still true
  // The last report, also if it is stale.
  std::optional<LoadReport> report{};
  Duration age{};
  std::uint64_t rejected = 0;
  std::uint64_t target_exceeded = 0;
  // How its stream ended last, while there is none.
  std::optional<LoadReportsEnd> stream_ended{};
};

// What the replicas of one cluster say of their load: subscribes to the stream of each, takes what
// their answers carry while there is no stream, and makes of it what the admission queue chooses by
// (AdmissionQueue::setGateFreeUntil, setLeaving, reopen), figures, metrics and warnings. A
// report counts for three intervals; missing, stale and wrong ones never stop anything. Loop thread
// only; its replicas outlive their being here.
class LoadReports {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(1);
  static constexpr Duration kStaleAfter = 3 * kInterval;
  // A replica that drains reports that once; longer than the longest pause between subscriptions.
  static constexpr Duration kLeavingHolds = std::chrono::seconds(60);

  // subscription: its interval and silence are set here.
  LoadReports(net::EventLoop& loop, Cluster& cluster,
              const LoadReportSubscription::Settings& subscription, Logger& logger);
  ~LoadReports();

  // A replica that is known to be a sidecar. Without subscribe (it takes no HTTP/2) only what its
  // answers carry is taken. A second time is nothing.
  void add(Replica& replica, bool subscribe);
  void remove(ReplicaId id);
  // A report that came with an answer. Of replicas that are not here, and while a stream tells
  // more, it is ignored.
  void takeInBand(ReplicaId id, const ParsedLoadReport& report);

  // To be called after each change of the target, so that none is missed between two reports.
  void noteTarget();

  // Nothing for a replica that is no sidecar, as far as is known.
  std::optional<LoadReportStatus> status(ReplicaId id) const;
  // The highest that a replica has reported; 0 if none has.
  std::uint32_t predictConcurrency() const;

 private:
  struct Entry;
  Entry* find(ReplicaId id) const;
  void take(Entry& entry, LoadReportSource source, const ParsedLoadReport& report);
  void onStreamEnd(Entry& entry, LoadReportsEnd end, Duration pause);
  void reject(Entry& entry, LoadReportFault fault);
  void prefer(Entry& entry, const LoadReport& report);
  void updateAllowed(Entry& entry, std::uint32_t target);
  void setLeaving(Entry& entry, bool leaving);
  // The replica that is the same process and has been known for longer, if there is one.
  const Entry* original(const Entry& entry, const LoadReport& report) const;
  void warnOfDuplicate(Entry& entry, const Entry& used);
  void compareWithTarget(Entry& entry, const LoadReport& report, std::uint32_t target);
  void compareConcurrency(std::uint32_t target);

  net::EventLoop& loop_;
  Cluster& cluster_;
  LoadReportSubscription::Settings subscription_;
  Logger& logger_;
  std::map<ReplicaId, std::unique_ptr<Entry>> entries_;
  std::array<Counter, 2> taken_;  // by source
  std::array<Counter, kLoadReportFaults> rejected_;
  std::array<Counter, kLoadReportsEnds> streams_ended_;
  Counter target_exceeded_;
  Gauge predict_concurrency_;
  Gauge target_too_low_;
  // What was said last of the target, and when one may speak of it again.
  bool told_too_low_ = false;
  std::uint32_t told_target_ = 0;
  std::uint32_t told_concurrency_ = 0;
  TimePoint quiet_until_{};
};

}  // namespace penstock::proxy
