#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/limits.h"
#include "net/listener.h"
#include "sidecar/downstream_connection.h"
#include "sidecar/executor.h"
#include "sidecar/gpu_monitor.h"
#include "sidecar/model_config.h"
#include "sidecar/service.h"

namespace penstock::sidecar {

// The whole sidecar, composed: listener → connections → service → executor → model. It answers from
// the start, while the executor loads the model.
class Server final : private net::Listener::Handler,
                     private DownstreamConnection::Owner,
                     private Executor::Owner {
 public:
  struct Options {
    ModelConfig model;
    net::Address listen;
    std::size_t concurrency_limit = 1000;  // requests run or kept waiting here at a time
    Duration drain_timeout = std::chrono::seconds(1200);
  };

  // Listens; nothing is served yet. handed_over: a socket that is bound to options.listen already;
  // may be none.
  static Result<std::unique_ptr<Server>> make(const Options& options, net::UniqueFd handed_over,
                                              const Clock& clock, Logger& log);
  ~Server() override;

  // Serves until SIGTERM (finishes what it has, then 0), a second SIGTERM, SIGINT, or a model that
  // cannot be loaded (at once, 1). Returns the process's exit status.
  int run();
  // Whether run() returned while a model still works: then the process is to end without destroying
  // this.
  bool abandoned() const { return abandoned_; }

 private:
  Server(const Options& options, net::UniqueFd socket, const Clock& clock, Logger& log);

  void onAccept(net::UniqueFd fd, const net::Address& peer) override;
  void onExhausted() override;
  void onDownstreamClosed(DownstreamConnection& connection) override;

  void onExecutorReady() override;
  void onExecutorFailed(std::string_view why) override;

  std::unique_ptr<Executor> makeExecutor();
  void logRemarks();
  void onTerminate();
  void onDrained();
  void onDrainTimeout();
  void drainConnections(http::ServerConnection::Idle idle);
  void stop(int exit_status, bool abandon);
  void onStopped();

  const Options options_;
  const Clock& clock_;
  Logger& log_;
  net::EventLoop loop_;
  Metrics metrics_;
  const GpuMonitor gpus_;
  const http::Limits limits_;
  std::unique_ptr<Executor> executor_;
  Service service_;
  net::Listener listener_;
  DownstreamConnection::Id last_connection_ = 0;
  std::unordered_map<DownstreamConnection::Id, std::unique_ptr<DownstreamConnection>> connections_;
  bool loading_ = true;
  bool draining_ = false;
  bool stopped_ = false;
  bool abandoned_ = false;
  int exit_status_ = 0;
  std::optional<net::Timer> drain_timer_;
  net::SignalWatch on_terminate_;
  net::SignalWatch on_interrupt_;
};

}  // namespace penstock::sidecar
