#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "model_runtime/ahead_lane.h"
#include "model_runtime/launching_model.h"
#include "model_runtime/request.h"
#include "model_runtime/runtime.h"

namespace penstock::runtime {

// A lane of a runtime that runs ahead: what its two threads do with requests. When the device
// begins is known to the host only as "not before the one in front has ended", so that is what is
// reported.
class Runtime::LaunchedPredict final : private AheadLane::Work {
 public:
  LaunchedPredict(Runtime& runtime, LaunchingModel& model, std::size_t index)
      : runtime_(runtime), model_(model), index_(index), lane_(index, *this) {}

  void give(PredictGate::Grant grant) { lane_.give(std::move(grant)); }
  void look() { lane_.look(); }

 private:
  PredictGate::Waiter* bindNext(std::uint64_t permit_number) override {
    return runtime_.gate_.bindNext(index_, permit_number);
  }
  void launch(PredictGate::Waiter& waiter) override;
  std::optional<PredictGate::Grant> finish(PredictGate::Grant grant) override;
  std::optional<PredictGate::Grant> finishLaunched(Request& request, PredictGate::Permit permit);

  Runtime& runtime_;
  LaunchingModel& model_;
  const std::size_t index_;
  TimePoint ended_{};  // the last predict on this lane; of the finishing thread
  AheadLane lane_;     // last: its threads use the rest
};

}  // namespace penstock::runtime
