// Linked with examples/denoise in place of CUDA's devices and the kernel: a fake device, on which
// the kernel inverts. The launch of an image with PENSTOCK_FAKE_LAUNCH channels fails.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "examples/denoise/non_local_means_kernel.h"
#include "tests/examples/the_fake_device.h"

namespace penstock {
namespace {

runtime::cuda::FakeDevice* device = nullptr;

}  // namespace

runtime::cuda::DeviceResult<std::vector<std::unique_ptr<runtime::cuda::Device>>>
runtime::cuda::openDevices() {
  return openTheFakeDevice(device, std::size_t{1} << 30);
}

void examples::launchNonLocalMeans(const KernelImage& image, const KernelWeights& /*weights*/,
                                   void* stream) {
  device->kernel({stream}, [image] {
    for (int i = 0; i < image.width * image.height * image.channels; ++i) {
      image.out[i] = static_cast<std::uint8_t>(255 - image.in[i]);
    }
  });
  if (const char* failing = std::getenv("PENSTOCK_FAKE_LAUNCH");
      failing != nullptr && failing == std::to_string(image.channels)) {
    device->failNext(runtime::cuda::DeviceFault::kFailed);
  }
}

}  // namespace penstock
