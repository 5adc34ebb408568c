#pragma once

#include <cstdint>

namespace penstock::examples {

// One image for the kernel, in device memory; pixels as in Image. C++20: nvcc reads it too.
struct KernelImage {
  const std::uint8_t* in = nullptr;
  std::uint8_t* out = nullptr;
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 or 3
};

// What non-local means are with, in units of the kernel: weight = 2^-max(sum · scale - floor, 0),
// of the sum of squared differences over a patch.
struct KernelWeights {
  int search_radius = 0;  // 1 … 20
  int patch_radius = 0;   // 0 … 5
  float scale = 0;
  float floor = 0;
};

// The highest image that can be launched: a block has 64 rows, and a grid 65535 blocks down.
inline constexpr int kMostRows = 65535 * 64;

// Enqueues the filter on stream, a cudaStream_t of the calling thread's device. What the launch
// said is for cudaGetLastError.
void launchNonLocalMeans(const KernelImage& image, const KernelWeights& weights, void* stream);

}  // namespace penstock::examples
