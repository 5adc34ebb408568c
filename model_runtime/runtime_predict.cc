// A request from when it is ready for predict until it has been in it: the gate, staging, the lane.

#include <algorithm>
#include <utility>
#include <variant>

#include "model_runtime/launched_predict.h"
#include "model_runtime/request.h"
#include "model_runtime/runtime.h"

namespace penstock::runtime {

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

}  // namespace penstock::runtime
