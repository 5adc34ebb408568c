#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "net/process/child_log.h"
#include "net/process/child_process.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/config/config.h"
#include "proxy/scaling/loopback_ports.h"

namespace penstock::proxy {

// How long to wait before a process that ended is started again.
struct RestartPolicy {
  Duration first = std::chrono::seconds(1);
  Duration longest = std::chrono::seconds(30);  // doubles up to it
  // Having been ready for so long, it begins with the first again.
  Duration reset_after = std::chrono::seconds(30);
};

// How long replicas of a cluster take to start and to stop.
struct ReplicaTimes {
  ReplicaTimes(Metrics& metrics, const std::string& cluster);

  void started(Duration time);

  Histogram start_seconds;  // from the start of the process to ready
  Histogram stop_seconds;   // from the decision to stop it to its end
  std::optional<Duration> last_start;
};

// One replica of this machine that is kept running: started at a free loopback address, named to
// ReplicaHealth as a new incarnation each time, used once it answers and is seen to be who listens
// there, started again after a back-off when it ends or is
// not ready in time, until retire() or stop(). Loop thread only.
class ReplicaProcess {
 public:
  // Everything referred to outlives this. cluster: the name, for the log.
  ReplicaProcess(net::EventLoop& loop, const std::string& cluster, const ProcessReplicas& config,
                 const RestartPolicy& policy, LoopbackPorts& ports, ReplicaHealth& health,
                 ReplicaTimes& times, Logger& logger);
  ~ReplicaProcess();

  void start();
  // Gets nothing new; when it has finished what it has, or after drain_timeout, as stop().
  void retire(std::move_only_function<void()> stopped);
  // Takes retire() back: it gets requests again, and stopped is not called. False if it is too
  // late.
  bool takeBack();
  // SIGTERM, and SIGKILL after stop_timeout; stopped is called once it has ended, later than from
  // here. After retire(): at once, and instead of that one's stopped.
  void stop(std::move_only_function<void()> stopped);

  bool ready() const;
  // Requests that it has been given and has not finished.
  std::uint32_t inFlight() const;
  // What went wrong since it was ready last; empty if nothing did.
  const std::string& trouble() const { return trouble_; }

 private:
  std::vector<std::string> command(const net::Address& address) const;
  Result<void> launch();
  void end();
  void onReady();
  void onStartTimeout();
  void onExit(const std::string& how);
  void startAgainLater();
  void endWhenIdle();

  net::EventLoop& loop_;
  const std::string& cluster_;
  const ProcessReplicas& config_;
  const RestartPolicy policy_;
  LoopbackPorts& ports_;
  ReplicaHealth& health_;
  ReplicaTimes& times_;
  Logger& logger_;
  std::unique_ptr<LoopbackPorts::Claim> claim_;  // while there is a process
  std::unique_ptr<net::ChildProcess> child_;
  std::optional<net::ChildLog> log_;
  std::optional<ReplicaId> id_;
  std::string address_;
  std::string trouble_;
  TimePoint started_at_{};
  std::optional<TimePoint> ready_since_;
  TimePoint stop_asked_at_{};
  Deadline drained_by_ = Deadline::never();
  Duration back_off_;
  bool stopping_ = false;
  std::move_only_function<void()> stopped_;
  net::Timer restart_;
  net::Timer start_timeout_;
  net::Timer kill_;
  net::Timer idle_check_;
};

}  // namespace penstock::proxy
