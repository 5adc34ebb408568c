#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/deadline.h"
#include "base/log.h"
#include "base/metrics.h"
#include "model_runtime/deadline_timer.h"
#include "model_runtime/lane.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/model.h"
#include "model_runtime/outcome.h"
#include "model_runtime/predict_gate.h"
#include "model_runtime/runtime_metrics.h"
#include "model_runtime/worker_pool.h"

namespace penstock::runtime {

class Request;

// A submitted request, to be cancelled with. Destroying it changes nothing.
class RequestHandle {
 public:
  RequestHandle() = default;
  // Nobody wants the result any more. A request that waits ends at once, inside this call; of one
  // that runs the model is told, and it ends when its work has. Afterwards, or twice: nothing.
  void cancel();

 private:
  friend class Runtime;
  explicit RequestHandle(std::shared_ptr<Request> request) : request_(std::move(request)) {}
  // Shared with the runtime, which may end the request at any moment.
  std::shared_ptr<Request> request_;
};

// Runs requests through a model: preprocess on a pool of threads, the predict gate, predict on the
// thread of the lane that the permit names, postprocess on another pool. A request that has ended
// predict gives its lane back before anything else is done with it, and the lane's thread goes on
// with the oldest request that waits, without sleeping in between. What a LaunchingModel has
// launched is collected on a thread of its own, between predict and postprocess.
//
// Each submitted request ends in exactly one Outcome. Thread-safe. The model is loaded, and
// outlives the runtime; the metrics are not rendered after the runtime has ended.
class Runtime final : private PredictGate::Handler {
 public:
  struct Options {
    std::size_t predict_concurrency = 1;  // lanes; at least 1
    // 1: the next request is launched while the one before still runs. For a LaunchingModel with
    // one lane.
    std::size_t run_ahead = 0;
    std::size_t preprocess_threads = 32;  // at most so many at once; started when needed
    std::size_t postprocess_threads = 32;
    std::size_t max_in_flight = 1000;  // submitted and not ended, whatever they are doing
    std::size_t max_waiting = 1000;    // of those, ready and waiting for a lane
    Duration gate_timeout = std::chrono::seconds(600);  // longest wait for a lane
    // A call of the model's that does not return: called when one goes on for so long after its
    // request's deadline. On the timer's thread; nothing can be done but to end the process.
    Duration hang_timeout = std::chrono::seconds(30);
    std::function<void(std::string_view why)> on_hang{};
  };
  enum class Refusal { kFull, kDraining };
  // Called once, on a runtime thread, or inside submit() or RequestHandle::cancel() when the
  // request ends there. Must not block.
  using Completion = std::move_only_function<void(Outcome)>;
  struct Submission {
    Input input;
    std::string request_id;
    Deadline deadline = Deadline::never();
  };

  // clock: CLOCK_MONOTONIC, which deadlines are slept by.
  Runtime(Model& model, const Clock& clock, Logger& logger, Metrics& metrics,
          const Options& options);
  // Waits until every request has ended.
  ~Runtime() override;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Takes the request, or refuses it: then the model has not seen it and completion is not called.
  std::expected<RequestHandle, Refusal> submit(Submission submission, Completion completion);

  // Refuses from now on; what was submitted goes on.
  void drain();
  // Waits until everything submitted has ended, its completion call included; whether it has.
  bool waitUntilIdle(Deadline deadline);

  // Submitted and not ended. A request has left this count when its completion is called.
  std::size_t inFlight() const;
  PredictGate::Snapshot gate() const { return gate_.snapshot(); }
  // Of the lanes, until now.
  LaneIdle::Totals idle() const { return idle_lanes_.totals(clock_.now()); }

 private:
  friend class Request;
  friend class RequestHandle;
  class LaunchedPredict;
  enum class StopReason : std::uint8_t;

  void onGrant(PredictGate::Grant grant) override;
  void onExpired(PredictGate::Waiter& waiter) override;

  void queue(WorkerPool& pool, Request& request);
  void runPreprocess(Request& request);
  void enterGate(Request& request);
  // Has those staged that are next in line.
  void stageNext();
  void runStage(Request& request);
  // Out of the gate's queue, because it was stopped or its lane would have come too late.
  void leftGate(Request& request);
  std::optional<PredictGate::Grant> runPredict(PredictGate::Grant grant);
  ModelResult<std::unique_ptr<State>> predict(Request& request, std::size_t lane);
  void afterPredict(Request& request, ModelResult<std::unique_ptr<State>> result);
  void runCollect(Request& request);
  void toPostprocess(Request& request);
  void runPostprocess(Request& request);

  void moveTo(LaneIdle::Place place, Request& request, TimePoint now);
  void stop(Request& request, StopReason reason);
  void onDue(Request& request);
  void watchForHang(const std::shared_ptr<Request>& request);
  void finishStopped(Request& request);
  // A stage of the model gave an error.
  void finishFailed(Request& request, Stage stage, ModelError error);
  void finishLate(Request& request);
  void finish(Request& request, Outcome outcome);

  template <typename F>
  auto guarded(Request& request, F call) -> decltype(call());

  Model& model_;
  const Clock& clock_;
  Logger& logger_;
  const Options options_;
  const Stages stages_;
  LaunchingModel* const launching_;  // null: predict is a call

  mutable std::mutex mutex_;  // guards the next three
  std::condition_variable idle_;
  std::size_t in_flight_ = 0;
  std::size_t unfinished_ = 0;  // in flight, or inside the completion call
  bool draining_ = false;

  PredictGate gate_;
  LaneIdle idle_lanes_;
  RuntimeMetrics metrics_;
  DeadlineTimer timer_;
  WorkerPool postprocess_;
  WorkerPool collect_;
  WorkerPool stage_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<LaunchedPredict> ahead_;  // in place of the one lane
  WorkerPool preprocess_;
};

}  // namespace penstock::runtime
