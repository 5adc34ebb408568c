// In place of cuda_device.cc where there is no CUDA to build with.

#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

DeviceResult<std::vector<std::unique_ptr<Device>>> openDevices() {
  return std::unexpected(DeviceError{.fault = DeviceFault::kAbsent,
                                     .message = "this program was built without CUDA",
                                     .where = std::source_location::current()});
}

}  // namespace penstock::runtime::cuda
