#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/model.h"

namespace penstock::runtime::cuda {

// The options that models on GPUs have in common, as a user writes them into config.yaml.
struct DeviceOptions {
  // cpu    the processor; no GPU is looked for
  // cuda   GPUs; an error if there is none
  // auto   GPUs if there are any; if not, the log says so, once. A GPU that is there and does not
  //        work is an error
  std::string device = "auto";
  // high   kernels of lanes are scheduled before those of the model's own streams
  // normal like those of a stream that was made without a priority
  std::string priority = "high";

  // Takes the value if it is one of these options.
  bool take(std::string_view name, const std::string& value);
};

// What they ask for, in load(): the model's lanes on the GPUs, or null where the processor is to do
// the work. They show themselves in /metrics (lane_metrics.h), and so live as long as the model.
ModelResult<std::unique_ptr<LaneSet>> openLanes(const DeviceOptions& options,
                                                const LoadContext& context);

}  // namespace penstock::runtime::cuda
