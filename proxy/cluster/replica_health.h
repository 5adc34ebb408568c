#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "net/event_loop.h"
#include "net/tls.h"
#include "proxy/cluster/cluster.h"
#include "proxy/cluster/health_checker.h"
#include "proxy/cluster/load_reports.h"

namespace penstock::proxy {

enum class ReplicaState : std::uint8_t {
  kStarting,   // not known to be ready yet
  kReady,      // gets requests
  kUnhealthy,  // fails its checks
  kEjected,    // failed too many requests in a row; comes back by itself
  kDraining,   // finishes what it has
};
// "starting", "ready", …
std::string_view toString(ReplicaState state);

// What one wants to know of a replica at a glance.
struct ReplicaStatus {
  net::Address address;
  ReplicaState state;
  ReplicaId incarnation;
  bool refusing = false;  // refused a request, and gets only a trial now and then
  std::uint32_t in_flight;
  std::uint64_t requests;
  std::uint64_t succeeded;
  std::uint64_t failed;
  std::optional<LoadReportStatus> load{};  // of a sidecar
  std::string last_error{};                // the last failure to connect, or of a check
};

// Decides which replicas of one cluster get requests: from active checks, from what the workers
// tell about failed requests, and from the provider that adds and removes them; it alone makes one
// available (a worker may take one out that cannot be connected to, which is then tried until it
// can). A replica is ejected for base_time × how often in a row, but never the last one that is
// available. One that refuses requests is offered one again after a pause, which doubles from 10 ms
// to 1 s with each that it refuses then, and is open to all once a check that was begun after the
// refusal has passed. Reads the load reports of those that turn out to be sidecars. Loop thread
// only; made before the workers begin and destroyed after they have ended.
class ReplicaHealth {
 public:
  // tls, for the checks and reports, may be null; it and the cluster outlive this.
  ReplicaHealth(net::EventLoop& loop, Cluster& cluster, const net::TlsContext* tls, Logger& logger);
  ~ReplicaHealth();
  ReplicaHealth(const ReplicaHealth&) = delete;
  ReplicaHealth& operator=(const ReplicaHealth&) = delete;

  // A new incarnation that is there: used at once, or, if the configuration says so, once it has
  // passed a check.
  ReplicaId add(const net::Address& address);
  // One that is being started: used once GET on the check's path answers; on_ready is called then,
  // the first time only. is_it: whether who answers is that replica; empty: yes.
  ReplicaId addStarting(const net::Address& address, std::move_only_function<void()> on_ready,
                        std::function<bool()> is_it = {});
  // It gets nothing more; what it has goes on, and so do its checks.
  void drain(ReplicaId id);
  // Takes drain() back: it is what its checks and its failures make of it.
  void resume(ReplicaId id);
  // It is gone.
  void remove(ReplicaId id);

  bool isReady(ReplicaId id) const;
  // Slots out; also of one that drains.
  std::uint32_t inFlight(ReplicaId id) const;
  // In the order in which they came; those that are gone but still have slots out are draining.
  std::vector<ReplicaStatus> replicas() const;
  const LoadReports& loadReports() const { return reports_; }
  // To be called after each change of the concurrency target.
  void noteTarget() { reports_.noteTarget(); }

 private:
  struct Entry;
  Entry& insert(const net::Address& address);
  Entry* find(ReplicaId id) const;
  HealthChecker::Settings checkSettings(const HealthCheckConfig& check, bool starting) const;
  void startChecks(Entry& entry, const HealthCheckConfig& check, bool starting);
  void onVerdict(Entry& entry, bool healthy, std::string_view why);
  void onFailing(ReplicaId id);
  void onUnreachable(ReplicaId id, std::string why);
  void onRefusal(ReplicaId id, std::uint32_t in_a_row);
  void offerOne(Entry& entry);
  void onPassed(Entry& entry, TimePoint asked_at);
  void onSidecar(ReplicaId id);
  void eject(Entry& entry);
  void readmit(Entry& entry);
  void update(Entry& entry, std::string_view why);
  ReplicaState allowed(const Entry& entry) const;
  void updateThoseAt(const std::string& address);
  // Brings back the replica that has been ejected longest if nobody is available.
  void readmitIfNoneIsAvailable();

  net::EventLoop& loop_;
  Cluster& cluster_;
  const net::TlsContext* tls_;
  Logger& logger_;
  LoadReports reports_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace penstock::proxy
