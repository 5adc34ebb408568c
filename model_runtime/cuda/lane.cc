#include "model_runtime/cuda/lane.h"

#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {

DeviceResult<std::unique_ptr<Lane>> Lane::make(Device& device, std::size_t device_index,
                                               Device::Priority priority) {
  auto stream = device.makeStream(priority);
  PENSTOCK_TRY(stream);
  return std::unique_ptr<Lane>(new Lane(device, device_index, *stream));
}

}  // namespace penstock::runtime::cuda
