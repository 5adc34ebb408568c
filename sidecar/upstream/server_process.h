#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "net/process/child_log.h"
#include "net/process/child_process.h"
#include "sidecar/model_config.h"

namespace penstock::sidecar {

// The model server as a child of this process: its command is run by a shell in the model's
// directory, and its output goes to the log. Destroying it kills it. Loop thread only.
class ServerProcess {
 public:
  // config outlives this.
  ServerProcess(net::EventLoop& loop, Logger& log, const ModelConfig& config);

  struct End {
    std::string how;
    bool orderly;  // with success, or by SIGTERM: somebody asked it to end
  };

  // ended: once, when it has ended, unless stop() or kill() was called before.
  Result<void> start(std::move_only_function<void(const End& end)> ended);
  // Whether it, or a process that it started, is what listens at its port, as far as can be seen.
  bool mayListenAt(const net::Address& address) const;
  // This process is about to end: that the server does too is no surprise any more.
  void drain();
  // SIGTERM, and SIGKILL after stop_timeout. stopped: once, when it has ended; maybe at once.
  void stop(std::move_only_function<void()> stopped);
  // With all the processes of its group.
  void kill();
  // Whether it was killed when it was to end by itself.
  bool wasCut() const { return phase_ == Phase::kCut; }

 private:
  net::ChildProcess::Command command() const;
  void onExit(const std::string& how);

  net::EventLoop& loop_;
  Logger& log_;
  const ModelConfig& config_;
  const UpstreamModel::Process& process_;
  enum class Phase { kServing, kDraining, kStopping, kCut } phase_ = Phase::kServing;
  std::move_only_function<void(const End&)> ended_;
  std::move_only_function<void()> stopped_;
  std::unique_ptr<net::ChildProcess> child_;
  std::optional<net::ChildLog> output_;
  net::Timer kill_;
};

}  // namespace penstock::sidecar
