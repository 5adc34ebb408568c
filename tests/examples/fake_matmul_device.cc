// Linked with examples/matmul in place of CUDA's devices and the kernel: a fake device, on which
// the kernel is the reference. With PENSTOCK_FAKE_LAUNCH in the environment no launch succeeds.

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "examples/matmul/perceptron.h"
#include "tests/examples/the_fake_device.h"

namespace penstock {
namespace {

runtime::cuda::FakeDevice* device = nullptr;

}  // namespace

runtime::cuda::DeviceResult<std::vector<std::unique_ptr<runtime::cuda::Device>>>
runtime::cuda::openDevices() {
  return openTheFakeDevice(device, std::size_t{1} << 20);
}

void examples::launchPerceptron(const float* weights, const float* inputs, float* hidden,
                                float* outputs, std::size_t rows, void* stream) {
  device->kernel({stream}, [=] {
    std::fill_n(hidden, rows * kHidden, 0.0f);
    std::ranges::copy(runPerceptron({weights, kWeights}, {inputs, rows * kInputs}), outputs);
  });
  if (std::getenv("PENSTOCK_FAKE_LAUNCH") != nullptr) {
    device->failNext(runtime::cuda::DeviceFault::kFailed);
  }
}

}  // namespace penstock
