// In place of non_local_means.cu where there is no CUDA to build with: no device is found there, so
// nothing is ever launched.

#include "base/check.h"
#include "examples/denoise/non_local_means_kernel.h"

namespace penstock::examples {

void launchNonLocalMeans(const KernelImage& /*image*/, const KernelWeights& /*weights*/,
                         void* /*stream*/) {
  PENSTOCK_CHECK(false, "without CUDA there is no device to launch on");
}

}  // namespace penstock::examples
