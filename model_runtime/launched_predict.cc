#include "model_runtime/launched_predict.h"

#include <algorithm>
#include <utility>

namespace penstock::runtime {

void Runtime::LaunchedPredict::launch(PredictGate::Waiter& waiter) {
  Request& request = static_cast<Request&>(waiter);
  Request::Launch& launch = request.launch.emplace(Request::Launch{});
  launch.began = runtime_.clock_.now();
  if (!request.cancelled()) {
    launch.result = runtime_.guarded(
        request, [&] { return model_.launch(*request.state, request.call(), index_); });
    launch.on_device = launch.result.has_value();
  }
  launch.returned = runtime_.clock_.now();
}

std::optional<PredictGate::Grant> Runtime::LaunchedPredict::finish(PredictGate::Grant grant) {
  Request& request = static_cast<Request&>(*grant.waiter);
  if (request.launch->on_device) {
    return finishLaunched(request, std::move(grant.permit));
  }
  auto next = runtime_.gate_.handOver(std::move(grant.permit));
  if (request.launch->result.has_value()) {
    runtime_.finishStopped(request);
  } else {
    request.stage = Stage::kPredict;
    runtime_.afterPredict(request, std::unexpected(std::move(request.launch->result.error())));
  }
  return next;
}

std::optional<PredictGate::Grant> Runtime::LaunchedPredict::finishLaunched(
    Request& request, PredictGate::Permit permit) {
  const Request::Launch& launch = *request.launch;
  const TimePoint began = launch.began < ended_ ? std::max(launch.returned, ended_) : launch.began;
  const Duration gap = permit.begin(began);
  runtime_.moveTo(LaneIdle::Place::kPredict, request, began);
  request.stage = Stage::kPredict;
  auto ended = runtime_.guarded(
      request, [&] { return model_.finish(*request.state, request.call(), index_); });
  ended_ = runtime_.clock_.now();
  runtime_.moveTo(LaneIdle::Place::kNowhere, request, ended_);
  auto next = runtime_.gate_.handOver(std::move(permit), ended_);

  runtime_.metrics_.gap(gap);
  runtime_.metrics_.stageTook(Stage::kGate, began - request.stage_began);
  runtime_.metrics_.stageTook(Stage::kPredict, ended_ - began);
  if (ended.has_value()) {
    runtime_.afterPredict(request, std::move(request.state));
  } else {
    runtime_.afterPredict(request, std::unexpected(std::move(ended.error())));
  }
  return next;
}

}  // namespace penstock::runtime
