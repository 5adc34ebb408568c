// What the block's tile is, on a device.
#define PENSTOCK_SHARED_TILE extern __shared__ unsigned tile[]

#include "examples/denoise/non_local_means.cuh"

namespace penstock::examples {
namespace {

template <int kPatch>
void launchWithPatch(const KernelImage& image, const KernelWeights& weights, cudaStream_t stream) {
  constexpr int kColumns = kWarp - 2 * kPatch;
  const dim3 blocks(static_cast<unsigned>((image.width + kColumns - 1) / kColumns),
                    static_cast<unsigned>((image.height + kTileRows - 1) / kTileRows));
  const dim3 threads(kWarp, kWarps);
  const int tile_pixels =
      (kWarp + 2 * weights.search_radius) * (kTileRows + 2 * (kPatch + weights.search_radius));
  const std::size_t bytes = static_cast<std::size_t>(tile_pixels) * sizeof(unsigned);
  if (image.channels == 3) {
    nonLocalMeans<kPatch, 3><<<blocks, threads, bytes, stream>>>(image, weights);
  } else {
    nonLocalMeans<kPatch, 1><<<blocks, threads, bytes, stream>>>(image, weights);
  }
}

}  // namespace

void launchNonLocalMeans(const KernelImage& image, const KernelWeights& weights, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  switch (weights.patch_radius) {
    case 0:
      return launchWithPatch<0>(image, weights, on);
    case 1:
      return launchWithPatch<1>(image, weights, on);
    case 2:
      return launchWithPatch<2>(image, weights, on);
    case 3:
      return launchWithPatch<3>(image, weights, on);
    case 4:
      return launchWithPatch<4>(image, weights, on);
    default:
      return launchWithPatch<5>(image, weights, on);
  }
}

}  // namespace penstock::examples
