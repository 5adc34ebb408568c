#pragma once

#include <memory>
#include <unordered_map>

#include "base/log.h"
#include "base/metrics.h"
#include "model_runtime/python/python_runtime.h"
#include "net/event_loop.h"
#include "sidecar/executor.h"
#include "sidecar/model_config.h"

namespace penstock::sidecar {

// Runs a Truss: answers its server's paths, and hands what the model is to do to a Python runtime.
class PythonExecutor final : public Executor, private runtime::PythonRuntime::Owner {
 public:
  // config: of a Python model. max_in_flight: more requests are refused.
  PythonExecutor(net::EventLoop& loop, const ModelConfig& config, std::size_t max_in_flight,
                 Logger& log, Metrics& metrics, Executor::Owner& owner);
  ~PythonExecutor() override;

  void start() override;
  void drain() override { runtime_.drain(); }
  std::optional<Refusal> unready() const override;
  ErrorStyle errorStyle(const http::RequestHead& head) const override;
  bool asksHealth() const override { return runtime_.asksHealth(); }
  void askHealth(std::move_only_function<void(bool healthy)> answer) override {
    runtime_.checkHealth(std::move(answer));
  }
  std::expected<Intake, Reply> intake(const http::RequestHead& head) override;
  std::expected<Id, Reply> submit(Work work, Listener& listener) override;
  void cancel(Id id) override;
  void sendData(Id id, std::span<const std::uint8_t> data, bool end) override;
  void consumed(Id id, std::size_t bytes) override;
  std::size_t inFlight() const override { return runtime_.inFlight(); }
  runtime::PredictGate::Snapshot gate() const override { return runtime_.gate(); }
  std::optional<runtime::LaneIdle::Totals> idle() const override { return runtime_.idle(); }
  void stop(std::move_only_function<void()> stopped) override { runtime_.stop(std::move(stopped)); }
  void kill() override { runtime_.kill(); }

  // One request on its way; what its response is made of depends on what was asked for.
  class Call {
   public:
    virtual ~Call() = default;
    virtual void cancel() = 0;
    virtual void sendData(std::span<const std::uint8_t> data, bool end) = 0;
    virtual void consumed(std::size_t bytes) = 0;
  };
  // For calls: this one has ended, or ends by calling the listener now.
  void forget(Id id);
  runtime::PythonRuntime& runtime() { return runtime_; }

 private:
  void onModelReady() override { owner_.onExecutorReady(); }
  void onModelFailed(std::string_view why) override { owner_.onExecutorFailed(why); }

  net::EventLoop& loop_;
  const ModelConfig& config_;
  Executor::Owner& owner_;
  Id last_id_ = 0;
  std::unordered_map<Id, std::unique_ptr<Call>> calls_;
  runtime::PythonRuntime runtime_;
};

}  // namespace penstock::sidecar
