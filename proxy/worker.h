#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "net/unique_fd.h"
#include "proxy/cluster/cluster.h"
#include "proxy/filters/access_log/access_log.h"
#include "proxy/filters/request_id/request_id_filter.h"
#include "proxy/http/buffer_budget.h"
#include "proxy/http/downstream_connection.h"
#include "proxy/listener_shared.h"
#include "proxy/upstream/upstream_cluster.h"

namespace penstock::proxy {

// What the workers are made from; all of it outlives them.
struct WorkerContext {
  const Config& config;
  const Clock& clock;
  const std::vector<std::unique_ptr<Cluster>>& clusters;
  // By cluster; null: plain.
  const std::vector<std::unique_ptr<net::TlsContext>>& cluster_tls;
  const std::vector<std::unique_ptr<ListenerShared>>& listeners;
  BufferBudget& budget;
  LineSink* access_log;  // null: none
  Logger& log;
};

// One thread that serves: an event loop, a listening socket per listener, the connections it
// accepted, and its own pools of connections to replicas. A connection never leaves its worker.
class Worker {
 public:
  // sockets: one per listener, in order.
  Worker(const WorkerContext& context, std::vector<net::UniqueFd> sockets);
  // Stops at once; what still runs is cut off.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  // Ends the thread. All workers are stopped before any is destroyed: until then one may still wake
  // another.
  void stop();
  // Thread-safe. Lets open connections finish what they have, and refuses what else comes;
  // on_drained is called once on the worker's thread, when no request is left and those connections
  // are closed (or after drain_timeout, when their clients do not close them).
  void drain(std::function<void()> on_drained);
  // Thread-safe, after drain(): answers newcomers that have connected already, then lets nobody in.
  // on_gone is called likewise, when all connections are closed, or after 2 s.
  void refuseNewcomers(std::function<void()> on_gone);

 private:
  class Port;

  void makeFilters();
  void checkDrained();
  void checkGone();

  const WorkerContext& context_;
  net::EventLoop loop_;
  UuidSource uuids_;
  std::minstd_rand jitter_;
  std::unique_ptr<AccessLog> access_log_;
  std::vector<std::unique_ptr<UpstreamCluster>> clusters_;
  std::vector<std::function<std::unique_ptr<Filter>(Exchange&)>> filters_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::function<void()> on_drained_;
  Deadline drain_deadline_ = Deadline::never();
  net::Timer drain_timer_;
  net::Timer gone_timer_;
  std::thread thread_;
};

}  // namespace penstock::proxy
