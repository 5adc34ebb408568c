#pragma once

#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/model.h"

namespace penstock::runtime::cuda {

// Shows in /metrics what a model has on its GPUs: the time of each lane's kernels, by the device's
// clock, and each device's memory account. In load(); the lanes live as long as the model.
// openLanes() has done it.
ModelResult<void> showLanes(const LaneSet& lanes, const LoadContext& context);

}  // namespace penstock::runtime::cuda
