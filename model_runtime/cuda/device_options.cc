#include "model_runtime/cuda/device_options.h"

#include <utility>

#include "model_runtime/cuda/lane_metrics.h"
#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {

bool DeviceOptions::take(std::string_view name, const std::string& value) {
  if (name == "device") {
    device = value;
  } else if (name == "priority") {
    priority = value;
  } else {
    return false;
  }
  return true;
}

ModelResult<std::unique_ptr<LaneSet>> openLanes(const DeviceOptions& options,
                                                const LoadContext& context) {
  const std::string& wanted = options.device;
  if (wanted != "cpu" && wanted != "cuda" && wanted != "auto") {
    return modelFailure(ErrorKind::kBadInput, "options: device: expected cpu, cuda or auto");
  }
  if (options.priority != "high" && options.priority != "normal") {
    return modelFailure(ErrorKind::kBadInput, "options: priority: expected high or normal");
  }
  if (wanted == "cpu") {
    return nullptr;
  }
  auto devices = openDevices();
  if (!devices && devices.error().fault != DeviceFault::kAbsent) {
    return modelFailure(ErrorKind::kInternal,
                        "options: device: " + wanted + ": CUDA does not work here: " +
                            devices.error().message + "; device: cpu does without");
  }
  if (!devices && wanted == "auto") {
    context.log("no GPU, so the processor is used: " + devices.error().message);
    return nullptr;
  }
  if (!devices) {
    return modelFailure(ErrorKind::kInternal,
                        "options: device: cuda: no GPU to use: " + devices.error().message);
  }
  auto lanes = LaneSet::make(std::move(*devices),
                             {.lanes = context.predict_concurrency,
                              .run_ahead = context.run_ahead,
                              .priority = options.priority == "high" ? Device::Priority::kHigh
                                                                     : Device::Priority::kNormal});
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
