#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "model_runtime/runtime.h"
#include "model_runtime/staging.h"

namespace penstock::runtime {

enum class Runtime::StopReason : std::uint8_t { kNone, kCancelled, kDeadline };

// One request on its way through the runtime, and the token that its stages look at.
//
// It belongs to whoever has it at the moment: a pool's queue or thread, the gate's queue, a lane.
// Only that one touches what is not atomic, and only that one finishes it; stop() takes it out of a
// queue, which makes the caller the owner, or leaves it to the thread that runs it.
class Request final : public std::enable_shared_from_this<Request>,
                      public PredictGate::Waiter,
                      public WorkerPool::Job,
                      public DeadlineTimer::Entry,
                      public CancellationToken {
 public:
  Request(Runtime& runtime, Runtime::Submission submission, Runtime::Completion on_end)
      : input(std::move(submission.input)),
        request_id(std::move(submission.request_id)),
        deadline(submission.deadline),
        completion(std::move(on_end)),
        runtime_(runtime) {}

  bool cancelled() const override {
    return stop_reason_.load(std::memory_order_acquire) != Runtime::StopReason::kNone;
  }
  bool sleepUntil(TimePoint when) const override {
    std::unique_lock lock(sleep_mutex_);
    return !stopped_.wait_until(lock, when, [this] { return cancelled(); });
  }
  void onDue() override { runtime_.onDue(*this); }

  Runtime::StopReason stopReason() const { return stop_reason_.load(std::memory_order_acquire); }
  // False if it was stopped before; the first reason stays.
  bool markStopped(Runtime::StopReason reason) {
    {
      std::lock_guard lock(sleep_mutex_);
      auto none = Runtime::StopReason::kNone;
      if (!stop_reason_.compare_exchange_strong(none, reason)) {
        return false;
      }
    }
    stopped_.notify_all();
    return true;
  }

  Call call() const { return {.request_id = request_id, .deadline = deadline, .token = *this}; }
  Runtime& runtime() { return runtime_; }

  Input input;
  const std::string request_id;
  const Deadline deadline;
  Runtime::Completion completion;
  // Keeps the request alive until it is finished; handles and the deadline timer only borrow.
  std::shared_ptr<Request> self;
  std::unique_ptr<State> state;
  // How its launch went, on a lane that runs ahead.
  struct Launch {
    TimePoint began{};
    TimePoint returned{};
    bool on_device = false;
    ModelResult<void> result{};
  };
  std::optional<Launch> launch;
  Staging staging;
  std::optional<ModelResult<void>> staged;    // how that went
  Deadline longest_wait = Deadline::never();  // for a lane
  Stage stage = Stage::kPreprocess;
  LaneIdle::Position position;
  TimePoint stage_began{};
  std::atomic<bool> finished = false;
  // The call of the model's that it is in, for who watches: since when, or max(); for which stage.
  std::atomic<TimePoint> in_model_since{TimePoint::max()};
  std::atomic<Stage> in_model_for{Stage::kPreprocess};

 private:
  Runtime& runtime_;
  std::atomic<Runtime::StopReason> stop_reason_{Runtime::StopReason::kNone};
  mutable std::mutex sleep_mutex_;
  mutable std::condition_variable stopped_;
};

// The boundary that no exception of a model passes.
template <typename F>
auto Runtime::guarded(Request& request, F call) -> decltype(call()) {
  struct Inside {
    Inside(Request& the_request, Stage stage, TimePoint now) : request(the_request) {
      request.in_model_for.store(stage, std::memory_order_relaxed);
      request.in_model_since.store(now, std::memory_order_relaxed);
    }
    ~Inside() { request.in_model_since.store(TimePoint::max(), std::memory_order_relaxed); }
    Request& request;
  };
  // Staged, or launched before its turn, it is at the gate still.
  const Stage stage = request.stage == Stage::kGate ? Stage::kPredict : request.stage;
  const Inside inside(request, stage, clock_.now());
  std::string what = "not a std::exception";
  try {
    return call();
  } catch (const std::exception& exception) {
    what = exception.what();
  } catch (...) {
  }
  logger_.error("the model threw an exception",
                {{"stage", toString(stage)},
                 {"request_id", std::string_view(request.request_id)},
                 {"what", std::string_view(what)}});
  return modelFailure(ErrorKind::kInternal, "Internal error in the model.");
}

}  // namespace penstock::runtime
