#pragma once

#include <memory>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "model_runtime/model.h"
#include "model_runtime/model_metrics.h"
#include "model_runtime/runtime.h"
#include "net/event_loop.h"
#include "sidecar/executor.h"
#include "sidecar/model_config.h"

namespace penstock::sidecar {

// Runs a model from a shared library: loads it on a thread of its own, then hands each request to a
// runtime, whose outcomes come back through the loop.
class NativeExecutor final : public Executor {
 public:
  // config: of a native model. max_in_flight: more requests are refused.
  NativeExecutor(net::EventLoop& loop, const ModelConfig& config, std::size_t max_in_flight,
                 Logger& log, Metrics& metrics, Owner& owner);
  // Waits for the loading and for every request.
  ~NativeExecutor() override;

  void start() override;
  void drain() override;
  std::optional<Refusal> unready() const override;
  std::expected<Intake, Reply> intake(const http::RequestHead& head) override;
  std::expected<Id, Reply> submit(Work work, Listener& listener) override;
  void cancel(Id id) override;
  void sendData(Id, std::span<const std::uint8_t>, bool) override {}
  void consumed(Id, std::size_t) override {}
  std::size_t inFlight() const override;
  runtime::PredictGate::Snapshot gate() const override;
  std::optional<runtime::LaneIdle::Totals> idle() const override;

  // In place of start(): the model is there already.
  void use(std::unique_ptr<runtime::Model> model);

 private:
  struct Running {
    runtime::RequestHandle handle;
    Listener* listener;
  };

  Result<std::unique_ptr<runtime::Model>> load();
  [[noreturn]] void endProcess(std::string_view why);
  void onLoaded(Result<std::unique_ptr<runtime::Model>> loaded);
  void onOutcome(Id id, runtime::Outcome outcome);

  net::EventLoop& loop_;
  const ModelConfig& config_;
  const std::size_t max_in_flight_;
  Logger& log_;
  Metrics& metrics_;
  Owner& owner_;
  bool draining_ = false;
  Id last_id_ = 0;
  std::unordered_map<Id, Running> running_;
  runtime::ModelMetrics model_metrics_;
  std::unique_ptr<runtime::Model> model_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::thread loader_;
};

}  // namespace penstock::sidecar
