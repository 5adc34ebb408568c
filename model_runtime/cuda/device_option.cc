#include "model_runtime/cuda/device_option.h"

#include <utility>

#include "model_runtime/cuda/lane_metrics.h"
#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {

ModelResult<std::unique_ptr<LaneSet>> openLanes(const std::string& wanted,
                                                const LoadContext& context) {
  if (wanted != "cpu" && wanted != "cuda" && wanted != "auto") {
    return modelFailure(ErrorKind::kBadInput, "options: device: expected cpu, cuda or auto");
  }
  if (wanted == "cpu") {
    return nullptr;
  }
  auto devices = openDevices();
  if (!devices && devices.error().fault == DeviceFault::kAbsent && wanted == "auto") {
    context.log("no GPU, so the processor is used: " + devices.error().message);
    return nullptr;
  }
  if (!devices) {
    return modelFailure(ErrorKind::kInternal, "options: device: " + wanted +
                                                  ": no GPU to use: " + devices.error().message);
  }
  auto lanes = LaneSet::make(
      std::move(*devices), {.lanes = context.predict_concurrency, .run_ahead = context.run_ahead});
  if (!lanes) {
    return modelFailure(ErrorKind::kInternal, "options: device: " + lanes.error().text());
  }
  for (std::size_t i = 0; i < (*lanes)->devices(); ++i) {
    context.log("uses GPU " + std::to_string(i) + ", " + (*lanes)->device(i).name());
  }
  PENSTOCK_TRY(showLanes(**lanes, context));
  return std::move(*lanes);
}

}  // namespace penstock::runtime::cuda
