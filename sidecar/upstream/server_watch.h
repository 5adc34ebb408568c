#pragma once

#include <optional>
#include <string>

#include "net/event_loop.h"
#include "net/http/health_probe.h"
#include "sidecar/model_config.h"
#include "sidecar/upstream/connect_probe.h"

namespace penstock::sidecar {

// Asks the model server again and again whether it is ready (GET readiness_endpoint gives 2xx;
// without one: it takes a connection) and, once it has been, whether it lives. What is known is at
// most a second and one question old. Loop thread only.
class ServerWatch {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // For the first time.
    virtual void onServerReady() = 0;
    // Whether what answers is the server that is meant. Asked when it gets ready.
    virtual bool isOwnServer() = 0;
    // Not within start_timeout. why: what was answered last.
    virtual void onServerLate(const std::string& why) = 0;
  };

  // Everything outlives this.
  ServerWatch(net::EventLoop& loop, const UpstreamModel& model, Owner& owner);

  void start();
  bool ready() const { return ready_; }
  bool hasBeenReady() const { return has_been_ready_; }
  // True until it has been ready.
  bool live() const { return live_; }

 private:
  void ask();
  http::HealthProbe::Settings settings(const std::string& path) const;
  void onReadiness(bool ready, const std::string& why);
  void onLiveness(bool live);
  // An answer has come.
  void answered();

  net::EventLoop& loop_;
  const UpstreamModel& model_;
  Owner& owner_;
  bool ready_ = false;
  bool has_been_ready_ = false;
  bool live_ = true;
  std::string why_ = "nothing was asked yet";
  int awaited_ = 0;  // answers
  Duration pause_;
  std::optional<http::HealthProbe> readiness_;
  std::optional<http::HealthProbe> liveness_;
  std::optional<ConnectProbe> connect_;
  net::Timer again_;
  net::Timer late_;
};

}  // namespace penstock::sidecar
