#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "examples/denoise/image.h"
#include "examples/denoise/non_local_means.h"
#include "examples/denoise/non_local_means_kernel.h"
#include "model_runtime/cuda/lane_set.h"

namespace penstock::examples {

// What the kernel is given for these parameters. sigma: above 0.
KernelWeights kernelWeights(const NonLocalMeans& parameters, std::size_t channels, double sigma);

// Non-local means on the lanes of GPUs, in the parts of a LaunchingModel. The same result as
// denoise() but for rounding. Thread-safe; outlives its leases.
class DeviceFilter {
 public:
  using Kernel = void (*)(const KernelImage&, const KernelWeights&, void* stream);
  template <typename T>
  using DeviceResult = runtime::cuda::DeviceResult<T>;
  using Lease = runtime::cuda::WorkspacePool::Lease;

  // kernel: launchNonLocalMeans, unless a test has a kernel of its own.
  DeviceFilter(std::unique_ptr<runtime::cuda::LaneSet> lanes, const NonLocalMeans& parameters,
               Kernel kernel = launchNonLocalMeans)
      : lanes_(std::move(lanes)), parameters_(parameters), kernel_(kernel) {}

  // Uploads the image, if it is known to which device. Of its pixels nothing is needed any more. An
  // empty workspace, the request's, is filled.
  DeviceResult<void> stage(const Image& image, Lease& workspace);
  // Enqueues image, whose noise is known and hasNoise(), on that lane; uploads it, if it has not
  // been staged.
  DeviceResult<void> launch(const Image& image, double sigma, std::size_t lane, Lease& workspace);
  static DeviceResult<void> finish(runtime::cuda::Workspace& workspace);
  // Puts the result into image, which has its size, and gives the workspace back.
  static DeviceResult<void> collect(Lease& workspace, Image& image);

  const runtime::cuda::LaneSet& lanes() const { return *lanes_; }

 private:
  static DeviceResult<void> upload(const Image& image, runtime::cuda::Workspace& workspace);

  const std::unique_ptr<runtime::cuda::LaneSet> lanes_;
  const NonLocalMeans parameters_;
  const Kernel kernel_;
};

}  // namespace penstock::examples
