#pragma once

#include <cstddef>
#include <functional>

#include "examples/denoise/image.h"

namespace penstock::examples {

// Non-local means, pixel by pixel: each pixel becomes the mean of the pixels around it, weighted by
// how alike their patches are,
//
//   out(p) = Σ_q w(p,q) in(q) / Σ_q w(p,q),   w(p,q) = exp(-max(d²(p,q) - 2σ², 0) / h²),
//
// with q in the square of search_radius around p and d² the mean squared difference of the two
// patches of patch_radius, over all channels. Beyond its edges the image is mirrored. The formula
// and h/σ are those of Buades, Coll and Morel, "Non-Local Means Denoising", Image Processing On
// Line 1 (2011), §2 and §4.
struct NonLocalMeans {
  std::size_t search_radius = 7;
  std::size_t patch_radius = 2;
  double sigma = 0;         // standard deviation of the noise, in levels of 255; 0: estimated
  std::size_t threads = 1;  // at least 1
};

// The same size and channels as image. cancelled: asked often, from all threads; once it says true
// what is returned is of no use.
Image denoise(const Image& image, const NonLocalMeans& parameters,
              const std::function<bool()>& cancelled);

// A patch's weight is exp(-max(sum · scale - floor, 0)), of the sum of its squared differences.
// sigma: above 0.
struct PatchWeights {
  double scale = 0;
  double floor = 0;
};
PatchWeights patchWeights(const NonLocalMeans& parameters, std::size_t channels, double sigma);

// Whether that is noise worth the name; without any, denoise() returns the image as it is.
bool hasNoise(double sigma);

// The standard deviation of white Gaussian noise in the image, averaged over its channels: the mean
// response to a difference of two Laplacians, which structure hardly excites (J. Immerkær, "Fast
// Noise Variance Estimation", Computer Vision and Image Understanding 64 (1996)). 0 for images
// below 3 × 3.
double estimateNoise(const Image& image);

}  // namespace penstock::examples
