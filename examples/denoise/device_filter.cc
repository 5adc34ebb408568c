#include "examples/denoise/device_filter.h"

#include <cstring>
#include <numbers>
#include <source_location>
#include <string>
#include <utility>

#include "model_runtime/cuda/try.h"

namespace penstock::examples {

KernelWeights kernelWeights(const NonLocalMeans& parameters, std::size_t channels, double sigma) {
  const PatchWeights weights = patchWeights(parameters, channels, sigma);
  // The kernel has powers of two.
  return {.search_radius = static_cast<int>(parameters.search_radius),
          .patch_radius = static_cast<int>(parameters.patch_radius),
          .scale = static_cast<float>(weights.scale * std::numbers::log2e),
          .floor = static_cast<float>(weights.floor * std::numbers::log2e)};
}

DeviceFilter::DeviceResult<void> DeviceFilter::upload(const Image& image,
                                                      runtime::cuda::Workspace& workspace) {
  const std::size_t bytes = image.pixels.size();
  PENSTOCK_TRY(workspace.reserve({.input = bytes, .output = bytes}));
  std::memcpy(workspace.staging().data(), image.pixels.data(), bytes);
  return workspace.upload();
}

DeviceFilter::DeviceResult<void> DeviceFilter::stage(const Image& image, Lease& workspace) {
  workspace = lanes_->takeStagingWorkspace();
  return workspace == nullptr ? DeviceResult<void>() : upload(image, *workspace);
}

DeviceFilter::DeviceResult<void> DeviceFilter::launch(const Image& image, double sigma,
                                                      std::size_t lane_number, Lease& workspace) {
  if (image.height > kMostRows) {
    return std::unexpected(runtime::cuda::DeviceError{
        .fault = runtime::cuda::DeviceFault::kFailed,
        .message = "an image of more than " + std::to_string(kMostRows) + " rows",
        .where = std::source_location::current()});
  }
  runtime::cuda::Lane& lane = lanes_->lane(lane_number);
  if (workspace == nullptr) {
    workspace = lanes_->takeWorkspace(lane_number);
    PENSTOCK_TRY(upload(image, *workspace));
  }
  PENSTOCK_TRY(workspace->begin(lane));
  kernel_({.in = reinterpret_cast<const std::uint8_t*>(workspace->input()),
           .out = reinterpret_cast<std::uint8_t*>(workspace->output()),
           .width = static_cast<int>(image.width),
           .height = static_cast<int>(image.height),
           .channels = static_cast<int>(image.channels)},
          kernelWeights(parameters_, image.channels, sigma), lane.stream().handle);
  return workspace->end(lane);
}

DeviceFilter::DeviceResult<void> DeviceFilter::finish(runtime::cuda::Workspace& workspace) {
  PENSTOCK_TRY(workspace.awaitKernels());
  return {};
}

DeviceFilter::DeviceResult<void> DeviceFilter::collect(Lease& workspace, Image& image) {
  auto output = workspace->awaitOutput();
  PENSTOCK_TRY(output);
  std::memcpy(image.pixels.data(), output->data(), output->size());
  workspace.reset();
  return {};
}

}  // namespace penstock::examples
