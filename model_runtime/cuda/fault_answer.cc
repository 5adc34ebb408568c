#include "model_runtime/cuda/fault_answer.h"

namespace penstock::runtime::cuda {

ModelError FaultAnswer::operator()(const DeviceError& error) const {
  switch (error.fault) {
    case DeviceFault::kOutOfMemory:
      return {ErrorKind::kOutOfDeviceMemory, "The device has no memory left for this request."};
    case DeviceFault::kLost:
      end_process_("the device is lost: " + error.text());
      break;
    case DeviceFault::kAbsent:
    case DeviceFault::kFailed:
      break;
  }
  return {ErrorKind::kInternal, "The device failed: " + error.message};
}

}  // namespace penstock::runtime::cuda
