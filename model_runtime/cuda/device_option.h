#pragma once

#include <memory>
#include <string>

#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/model.h"

namespace penstock::runtime::cuda {

// What a model's option `device` asks for, in load(): the model's lanes on the GPUs, or null where
// the processor is to do the work. They show themselves in /metrics (lane_metrics.h), and so live
// as long as the model. wanted:
//   cpu    the processor; no GPU is looked for
//   cuda   GPUs; an error if there is none
//   auto   GPUs if there are any; if not, the log says so, once
ModelResult<std::unique_ptr<LaneSet>> openLanes(const std::string& wanted,
                                                const LoadContext& context);

}  // namespace penstock::runtime::cuda
