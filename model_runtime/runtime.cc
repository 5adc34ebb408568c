#include "model_runtime/runtime.h"

#include <utility>

#include "base/check.h"
#include "model_runtime/launched_predict.h"
#include "model_runtime/request.h"

namespace penstock::runtime {

void RequestHandle::cancel() {
  if (request_ != nullptr) {
    request_->runtime().stop(*request_, Runtime::StopReason::kCancelled);
  }
}

Runtime::Runtime(Model& model, const Clock& clock, Logger& logger, Metrics& metrics,
                 const Options& options)
    : model_(model),
      clock_(clock),
      logger_(logger),
      options_(options),
      stages_(model.stages()),
      launching_(model.launching()),
      gate_(
          clock, *this,
          {.lanes = options.predict_concurrency,
           .max_waiting = options.max_waiting,
           // Those that are staged.
           .max_announced =
               launching_ != nullptr && options.run_ahead == 0 ? options.predict_concurrency : 0}),
      idle_lanes_(options.predict_concurrency, clock.now()),
      metrics_(metrics, clock, gate_, idle_lanes_),
      postprocess_("postprocess", options.postprocess_threads,
                   [this](WorkerPool::Job& job) { runPostprocess(static_cast<Request&>(job)); }),
      collect_("collect", 1,
               [this](WorkerPool::Job& job) { runCollect(static_cast<Request&>(job)); }),
      stage_("stage", options.predict_concurrency,
             [this](WorkerPool::Job& job) { runStage(static_cast<Request&>(job)); }),
      preprocess_("preprocess", options.preprocess_threads,
                  [this](WorkerPool::Job& job) { runPreprocess(static_cast<Request&>(job)); }) {
  metrics.callback("penstock_in_flight", "Requests accepted and not ended", {}, false,
                   [this] { return static_cast<double>(inFlight()); });
  if (options.run_ahead > 0) {
    PENSTOCK_CHECK(launching_ != nullptr && options.predict_concurrency == 1,
                   "running ahead is for a model that launches, on one lane");
    ahead_ = std::make_unique<LaunchedPredict>(*this, *launching_, 0);
    return;
  }
  for (std::size_t lane = 0; lane < options.predict_concurrency; ++lane) {
    lanes_.push_back(std::make_unique<Lane>(
        lane, [this](PredictGate::Grant grant) { return runPredict(std::move(grant)); }));
  }
}

Runtime::~Runtime() {
  drain();
  waitUntilIdle(Deadline::never());
  preprocess_.stop();
  stage_.stop();
  lanes_.clear();
  ahead_.reset();
  collect_.stop();
  postprocess_.stop();
  timer_.stop();
}

std::expected<RequestHandle, Runtime::Refusal> Runtime::submit(Submission submission,
                                                               Completion completion) {
  {
    std::lock_guard lock(mutex_);
    if (draining_ || in_flight_ >= options_.max_in_flight) {
      metrics_.refused();
      return std::unexpected(draining_ ? Refusal::kDraining : Refusal::kFull);
    }
    ++in_flight_;
    ++unfinished_;
  }
  auto request = std::make_shared<Request>(*this, std::move(submission), std::move(completion));
  request->self = request;
  request->stage_began = clock_.now();
  timer_.set(request, request->deadline);
  if (stages_.preprocess) {
    moveTo(LaneIdle::Place::kPreprocess, *request, request->stage_began);
    queue(preprocess_, *request);
  } else {
    request->state = std::make_unique<InputState>(std::move(request->input));
    enterGate(*request);
  }
  return RequestHandle(std::move(request));
}

void Runtime::drain() {
  std::lock_guard lock(mutex_);
  draining_ = true;
}

bool Runtime::waitUntilIdle(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto idle = [this] { return unfinished_ == 0; };
  if (deadline.isNever()) {
    idle_.wait(lock, idle);
    return true;
  }
  return idle_.wait_until(lock, deadline.when(), idle);
}

std::size_t Runtime::inFlight() const {
  std::lock_guard lock(mutex_);
  return in_flight_;
}

// Whoever stops the request looks for it in the queues, once. If that was before it got here, it
// was missed, and the look after adding it finds it.
void Runtime::queue(WorkerPool& pool, Request& request) {
  const std::shared_ptr<Request> keep = request.self;
  pool.add(request);
  if (keep->cancelled() && pool.remove(*keep)) {
    finishStopped(*keep);
  }
}

void Runtime::runPreprocess(Request& request) {
  if (request.cancelled()) {
    finishStopped(request);
    return;
  }
  request.stage_began = clock_.now();
  auto result =
      guarded(request, [&] { return model_.preprocess(std::move(request.input), request.call()); });
  metrics_.stageTook(Stage::kPreprocess, clock_.now() - request.stage_began);
  if (request.cancelled()) {
    finishStopped(request);
  } else if (!result.has_value()) {
    finishFailed(request, Stage::kPreprocess, std::move(result.error()));
  } else {
    request.state = std::move(*result);
    enterGate(request);
  }
}

void Runtime::runCollect(Request& request) {
  if (request.cancelled()) {
    finishStopped(request);
    return;
  }
  auto result = guarded(
      request, [&] { return launching_->collect(std::move(request.state), request.call()); });
  if (request.cancelled()) {
    finishStopped(request);
  } else if (!result.has_value()) {
    finishFailed(request, Stage::kPostprocess, std::move(result.error()));
  } else {
    request.state = std::move(*result);
    toPostprocess(request);
  }
}

void Runtime::toPostprocess(Request& request) {
  if (stages_.postprocess) {
    queue(postprocess_, request);
  } else {
    runPostprocess(request);
  }
}

void Runtime::runPostprocess(Request& request) {
  if (request.cancelled()) {
    finishStopped(request);
    return;
  }
  const TimePoint began = clock_.now();
  auto result = guarded(
      request, [&] { return model_.postprocess(std::move(request.state), request.call()); });
  metrics_.stageTook(Stage::kPostprocess, clock_.now() - began);
  if (request.cancelled()) {
    finishStopped(request);
  } else if (!result.has_value()) {
    finishFailed(request, Stage::kPostprocess, std::move(result.error()));
  } else {
    finish(request, {.kind = Outcome::Kind::kSucceeded,
                     .stage = Stage::kPostprocess,
                     .output = std::move(*result),
                     .error = {}});
  }
}

void Runtime::moveTo(LaneIdle::Place place, Request& request, TimePoint now) {
  idle_lanes_.move(request.position, place, now);
}

// If it is in none of the queues, the thread that has it sees the mark when its stage returns, or
// before the next one begins.
void Runtime::stop(Request& request, StopReason reason) {
  if (!request.markStopped(reason)) {
    return;
  }
  if (gate_.leave(request)) {
    leftGate(request);
  } else if (preprocess_.remove(request) || collect_.remove(request) ||
             postprocess_.remove(request)) {
    finishStopped(request);
  }
}

void Runtime::onDue(Request& request) {
  const std::shared_ptr<Request> keep = request.shared_from_this();
  if (request.deadline.passed(clock_.now())) {
    stop(request, StopReason::kDeadline);
    watchForHang(keep);
    return;
  }
  // It was the gate's timeout; what has a lane, or has left, goes on until its own deadline.
  if (gate_.leave(request)) {
    leftGate(request);
    return;
  }
  timer_.set(keep, request.deadline);
  if (request.finished) {
    timer_.clear(keep);
  }
}

// A request whose deadline has passed is still there because the model has it, or because it waits
// behind one that the model has.
void Runtime::watchForHang(const std::shared_ptr<Request>& request) {
  if (!options_.on_hang) {
    return;
  }
  const TimePoint now = clock_.now();
  const TimePoint since =
      std::max(std::min(request->in_model_since.load(std::memory_order_relaxed), now),
               request->deadline.when());
  if (now - since >= options_.hang_timeout) {
    options_.on_hang("a request has not come back from the model's " +
                     std::string(toString(request->in_model_for.load(std::memory_order_relaxed))) +
                     ", long after its deadline: " + request->request_id);
    return;
  }
  timer_.set(request, Deadline::at(since + options_.hang_timeout));
  if (request->finished) {
    timer_.clear(request);
  }
}

void Runtime::finishStopped(Request& request) {
  finish(request,
         {.kind = request.stopReason() == StopReason::kDeadline ? Outcome::Kind::kDeadlineExceeded
                                                                : Outcome::Kind::kCancelled,
          .stage = request.stage,
          .output = {},
          .error = {}});
}

void Runtime::finishFailed(Request& request, Stage stage, ModelError error) {
  finish(request, {.kind = Outcome::Kind::kModelError,
                   .stage = stage,
                   .output = {},
                   .error = std::move(error)});
}

// Out of the gate's queue because a lane would have come too late.
void Runtime::finishLate(Request& request) {
  const bool deadline = request.deadline.passed(clock_.now());
  finish(request,
         {.kind = deadline ? Outcome::Kind::kDeadlineExceeded : Outcome::Kind::kGateTimeout,
          .stage = Stage::kGate,
          .output = {},
          .error = {}});
}

void Runtime::finish(Request& request, Outcome outcome) {
  PENSTOCK_CHECK(!request.finished.exchange(true), "a request ends once");
  const std::shared_ptr<Request> keep = std::move(request.self);
  timer_.clear(keep);
  if (request.position.place != LaneIdle::Place::kNowhere) {
    moveTo(LaneIdle::Place::kNowhere, request, clock_.now());
  }
  // What the model keeps per request is gone before the answer is out.
  request.state.reset();
  request.input = {};
  metrics_.ended(outcome);
  {
    std::lock_guard lock(mutex_);
    --in_flight_;
  }
  std::exchange(request.completion, nullptr)(std::move(outcome));
  std::lock_guard lock(mutex_);
  if (--unfinished_ == 0) {
    idle_.notify_all();
  }
}

}  // namespace penstock::runtime
