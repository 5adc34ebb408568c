#include "model_runtime/runtime.h"

#include <algorithm>
#include <utility>
#include <variant>

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

void Runtime::enterGate(Request& request) {
  const std::shared_ptr<Request> keep = request.self;
  request.stage = Stage::kGate;
  request.stage_began = clock_.now();
  moveTo(LaneIdle::Place::kReady, request, request.stage_began);
  const Deadline give_up =
      std::min(request.deadline, Deadline::after(request.stage_began, options_.gate_timeout));
  request.longest_wait = give_up;
  auto admission = gate_.enter(request, give_up);
  if (auto* permit = std::get_if<PredictGate::Permit>(&admission)) {
    onGrant({&request, std::move(*permit)});
  } else if (auto* refusal = std::get_if<PredictGate::Refusal>(&admission)) {
    if (*refusal == PredictGate::Refusal::kFull) {
      finish(request,
             {.kind = Outcome::Kind::kGateFull, .stage = Stage::kGate, .output = {}, .error = {}});
    } else {
      finishLate(request);
    }
  } else {
    // From here on it may be granted, and even finished, at any moment.
    if (give_up < keep->deadline) {
      timer_.set(keep, give_up);
      if (keep->finished) {
        timer_.clear(keep);
      }
    }
    if (keep->cancelled() && gate_.leave(*keep)) {
      leftGate(*keep);
    }
    stageNext();
    if (ahead_ != nullptr) {
      ahead_->look();
    }
  }
}

void Runtime::stageNext() {
  if (launching_ == nullptr) {
    return;
  }
  while (PredictGate::Waiter* next = gate_.announceNext(
             [](PredictGate::Waiter& waiter) { static_cast<Request&>(waiter).staging.begin(); })) {
    stage_.add(static_cast<Request&>(*next));
  }
}

void Runtime::runStage(Request& request) {
  // Nobody ends it before this has.
  const std::shared_ptr<Request> keep = request.self;
  if (!request.cancelled()) {
    request.staged =
        guarded(request, [&] { return launching_->stage(*request.state, request.call()); });
  }
  if (!request.staging.end()) {
    leftGate(request);
  }
}

void Runtime::leftGate(Request& request) {
  if (!request.staging.giveUp()) {
    return;
  }
  if (request.cancelled()) {
    finishStopped(request);
  } else {
    finishLate(request);
  }
  stageNext();
}

void Runtime::onGrant(PredictGate::Grant grant) {
  if (ahead_ != nullptr) {
    ahead_->give(std::move(grant));
    return;
  }
  const std::size_t lane = grant.permit.lane();
  lanes_[lane]->give(std::move(grant));
}

void Runtime::onExpired(PredictGate::Waiter& waiter) {
  leftGate(static_cast<Request&>(waiter));
}

std::optional<PredictGate::Grant> Runtime::runPredict(PredictGate::Grant grant) {
  Request& request = static_cast<Request&>(*grant.waiter);
  request.staging.wait();
  const bool late = request.staged.has_value() && request.longest_wait.passed(clock_.now());
  const bool failed = request.staged.has_value() && !request.staged->has_value();
  if (request.cancelled() || late || failed) {
    auto next = gate_.handOver(std::move(grant.permit));
    if (request.cancelled() || late) {
      leftGate(request);
    } else {
      finishFailed(request, Stage::kPredict, std::move(request.staged->error()));
    }
    return next;
  }
  const Duration gap = grant.permit.begin();
  const TimePoint began = clock_.now();
  moveTo(LaneIdle::Place::kPredict, request, began);
  request.stage = Stage::kPredict;
  auto result = predict(request, grant.permit.lane());
  const TimePoint ended = clock_.now();
  moveTo(LaneIdle::Place::kNowhere, request, ended);
  auto next = gate_.handOver(std::move(grant.permit));

  metrics_.gap(gap);
  metrics_.stageTook(Stage::kGate, began - request.stage_began);
  metrics_.stageTook(Stage::kPredict, ended - began);
  afterPredict(request, std::move(result));
  return next;
}

ModelResult<std::unique_ptr<State>> Runtime::predict(Request& request, std::size_t lane) {
  if (launching_ == nullptr) {
    return guarded(request,
                   [&] { return model_.predict(std::move(request.state), request.call(), lane); });
  }
  auto ended =
      guarded(request, [&] { return launching_->launch(*request.state, request.call(), lane); });
  // Now that the device has something to do, and its host has not.
  stageNext();
  if (ended.has_value()) {
    ended =
        guarded(request, [&] { return launching_->finish(*request.state, request.call(), lane); });
  }
  if (!ended.has_value()) {
    return std::unexpected(std::move(ended.error()));
  }
  return std::move(request.state);
}

void Runtime::afterPredict(Request& request, ModelResult<std::unique_ptr<State>> result) {
  if (request.cancelled()) {
    finishStopped(request);
    return;
  }
  if (!result.has_value()) {
    finishFailed(request, Stage::kPredict, std::move(result.error()));
    return;
  }
  request.state = std::move(*result);
  request.stage = Stage::kPostprocess;
  if (launching_ != nullptr) {
    queue(collect_, request);
  } else {
    toPostprocess(request);
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
  if (request.deadline.passed(clock_.now())) {
    stop(request, StopReason::kDeadline);
    return;
  }
  // It was the gate's timeout; what has a lane, or has left, goes on until its own deadline.
  const std::shared_ptr<Request> keep = request.shared_from_this();
  if (gate_.leave(request)) {
    leftGate(request);
    return;
  }
  timer_.set(keep, request.deadline);
  if (request.finished) {
    timer_.clear(keep);
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
