#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock {

// In place of CUDA's devices: one fake, which the model has. Returns them as openDevices() does,
// and keeps it in device, since a kernel is a plain function, which has no other way to it.
inline runtime::cuda::DeviceResult<std::vector<std::unique_ptr<runtime::cuda::Device>>>
openTheFakeDevice(runtime::cuda::FakeDevice*& device, std::size_t memory_bytes) {
  auto fake = std::make_unique<runtime::cuda::FakeDevice>("fake", memory_bytes);
  device = fake.get();
  std::vector<std::unique_ptr<runtime::cuda::Device>> devices;
  devices.push_back(std::move(fake));
  return devices;
}

}  // namespace penstock
