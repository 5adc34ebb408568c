#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/predict_gate.h"
#include "model_runtime/runtime_metrics.h"
#include "net/event_loop.h"
#include "net/http/connection_pool.h"
#include "sidecar/executor.h"
#include "sidecar/model_config.h"
#include "sidecar/upstream/server_process.h"
#include "sidecar/upstream/server_watch.h"
#include "sidecar/upstream/upstream_call.h"

namespace penstock::sidecar {

// Runs requests at a model server that speaks HTTP: one that is running already, or one that is
// started here and with whose end this ends. What counts as inference passes the predict gate, the
// rest is only bounded in number.
class UpstreamExecutor final : public Executor,
                               private runtime::PredictGate::Handler,
                               private UpstreamCall::Owner,
                               private ServerWatch::Owner {
 public:
  // config: of a model server. max_in_flight: more requests are refused.
  UpstreamExecutor(net::EventLoop& loop, const ModelConfig& config, std::size_t max_in_flight,
                   Logger& log, Metrics& metrics, Executor::Owner& owner);
  // Cuts off what runs.
  ~UpstreamExecutor() override;

  void start() override;
  void drain() override;
  std::optional<Refusal> unready() const override;
  bool live() const override { return watch_.live(); }
  ErrorStyle errorStyle(const http::RequestHead& head) const override;
  std::expected<Intake, Reply> intake(const http::RequestHead& head) override;
  std::expected<Id, Reply> submit(Work work, Listener& listener) override;
  void cancel(Id id) override { calls_.at(id)->cancel(); }
  void sendData(Id id, std::span<const std::uint8_t> data, bool end) override;
  void consumed(Id id, std::size_t bytes) override { calls_.at(id)->consumed(bytes); }
  std::size_t inFlight() const override { return calls_.size(); }
  runtime::PredictGate::Snapshot gate() const override { return gate_.snapshot(); }
  std::optional<runtime::LaneIdle::Totals> idle() const override {
    return idle_lanes_.totals(loop_.clock().now());
  }
  void stop(std::move_only_function<void()> stopped) override;
  void kill() override;
  bool wasCut() const override;

 private:
  void onGrant(runtime::PredictGate::Grant grant) override;
  // Its own timer is about to tell it.
  void onExpired(runtime::PredictGate::Waiter&) override {}
  void onCallEnded(UpstreamCall& call) override;
  void onServerReady() override { owner_.onExecutorReady(); }
  bool isOwnServer() override;
  void onServerLate(const std::string& why) override;
  void onServerEnded(const ServerProcess::End& end);
  void onLastAnswers();
  // Nothing more is taken.
  bool endsSoon() const { return draining_ || server_end_.has_value(); }
  std::vector<UpstreamCall*> calls() const;

  net::EventLoop& loop_;
  const UpstreamModel& model_;
  const std::size_t max_in_flight_;
  Executor::Owner& owner_;
  Logger& log_;
  enum class Listening { kNotAsked, kOwn, kStranger } listening_ = Listening::kNotAsked;
  bool draining_ = false;
  std::string request_id_prefix_;
  Id last_id_ = 0;
  http::PoolSettings pool_settings_;
  http::ConnectionPool pool_;
  AwayServer away_;
  runtime::PredictGate gate_;
  runtime::LaneIdle idle_lanes_;
  runtime::RuntimeMetrics metrics_;
  UpstreamCall::Shared shared_;
  std::unordered_map<Id, std::unique_ptr<UpstreamCall>> calls_;
  ServerWatch watch_;
  std::optional<ServerProcess> process_;
  std::optional<ServerProcess::End> server_end_;
  net::Timer last_answers_;  // since the server's end
};

}  // namespace penstock::sidecar
