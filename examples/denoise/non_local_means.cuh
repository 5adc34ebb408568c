// Non-local means on a GPU. A block has eight warps and a tile of the image in shared memory, with
// the border that search and patch need, four bytes a pixel. A lane of a warp has one column and
// eight rows of the output. For each offset of the search square it sums the squared differences
// down its column by a sliding window, in registers; the sum over the patch's columns comes from
// its neighbours in the warp, so that nothing is synchronised within the loop over offsets. The
// outermost columns of a warp only help their neighbours. What each pixel and offset costs is
// counted in docs/gpu.md.

#pragma once

#include <cstddef>
#include <cstdint>

#include "examples/denoise/non_local_means_kernel.h"

namespace penstock::examples {
namespace {

// An unnamed namespace in a header: one .cu file includes it, and the test that runs it without a
// GPU.
constexpr int kWarp = 32;
constexpr int kWarps = 8;
constexpr int kRows = 8;                   // of a thread
constexpr int kTileRows = kWarps * kRows;  // of a block
static_assert(kMostRows == 65535 * kTileRows);
constexpr unsigned kWholeWarp = 0xffffffffu;

// … 2 1 0 0 1 2 … n-1 n-1 …, as often as needed.
__device__ int mirror(int i, int n) {
  const int period = 2 * n;
  const int folded = (i % period + period) % period;
  return min(folded, period - 1 - folded);
}

// The squares of the differences of four bytes, summed.
__device__ int squaredDifference(unsigned a, unsigned b) {
  const unsigned difference = __vabsdiffu4(a, b);
  return static_cast<int>(__dp4a(difference, difference, 0u));
}

template <int kChannels>
__device__ unsigned load(const KernelImage& image, int x, int y) {
  const std::uint8_t* at =
      image.in +
      (static_cast<std::size_t>(mirror(y, image.height)) * image.width + mirror(x, image.width)) *
          kChannels;
  unsigned pixel = at[0];
  if constexpr (kChannels == 3) {
    pixel |= static_cast<unsigned>(at[1]) << 8 | static_cast<unsigned>(at[2]) << 16;
  }
  return pixel;
}

template <int kChannels>
__device__ void store(const KernelImage& image, int x, int y, const float (&sums)[kChannels],
                      float weight) {
  std::uint8_t* at = image.out + (static_cast<std::size_t>(y) * image.width + x) * kChannels;
  for (int c = 0; c < kChannels; ++c) {
    at[c] = static_cast<std::uint8_t>(min(sums[c] / weight + 0.5f, 255.0f));
  }
}

template <int kPatch, int kChannels>
__global__ void __launch_bounds__(kWarp* kWarps)
    nonLocalMeans(const KernelImage image, const KernelWeights weights) {
  constexpr int kSide = 2 * kPatch + 1;
  constexpr int kSpan = kRows + 2 * kPatch;  // rows that a thread's patches cover
  PENSTOCK_SHARED_TILE;
  const int search = weights.search_radius;
  const int tile_width = kWarp + 2 * search;
  const int tile_height = kTileRows + 2 * (kPatch + search);
  const int first_x = static_cast<int>(blockIdx.x) * (kWarp - 2 * kPatch) - kPatch;
  const int first_y = static_cast<int>(blockIdx.y) * kTileRows;
  const int lane = static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(threadIdx.y) * kRows;

  for (int i = static_cast<int>(threadIdx.y) * kWarp + lane; i < tile_width * tile_height;
       i += kWarp * kWarps) {
    tile[i] = load<kChannels>(image, first_x - search + i % tile_width,
                              first_y - kPatch - search + i / tile_width);
  }
  __syncthreads();

  const unsigned* mine = tile + (row + search) * tile_width + search + lane;
  unsigned here[kSpan];
#pragma unroll
  for (int i = 0; i < kSpan; ++i) {
    here[i] = mine[i * tile_width];
  }
  float weight_sums[kRows] = {};
  float sums[kRows][kChannels] = {};

  for (int dy = -search; dy <= search; ++dy) {
    for (int dx = -search; dx <= search; ++dx) {
      const unsigned* shifted = mine + dy * tile_width + dx;
      unsigned there[kSpan];
      int differences[kSpan];
#pragma unroll
      for (int i = 0; i < kSpan; ++i) {
        there[i] = shifted[i * tile_width];
        differences[i] = squaredDifference(here[i], there[i]);
      }
      int column = 0;
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
        column += differences[i];
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        int distance = column;
#pragma unroll
        for (int k = 1; k <= kPatch; ++k) {
          distance +=
              __shfl_up_sync(kWholeWarp, column, k) + __shfl_down_sync(kWholeWarp, column, k);
        }
        const float weight =
            exp2f(-fmaxf(static_cast<float>(distance) * weights.scale - weights.floor, 0.0f));
        weight_sums[r] += weight;
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          sums[r][c] += weight * static_cast<float>(there[r + kPatch] >> (8 * c) & 0xffu);
        }
        if (r + 1 < kRows) {
          column += differences[r + kSide] - differences[r];
        }
      }
    }
  }

  const int x = first_x + lane;
  if (lane < kPatch || lane >= kWarp - kPatch || x >= image.width) {
    return;
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (first_y + row + r < image.height) {
      store<kChannels>(image, x, first_y + row + r, sums[r], weight_sums[r]);
    }
  }
}

}  // namespace
}  // namespace penstock::examples
