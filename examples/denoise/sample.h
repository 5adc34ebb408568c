#pragma once

#include <cstdint>

#include "examples/denoise/image.h"

namespace penstock::examples {

// A made-up landscape with smooth, sharp and finely patterned parts: 320 × 240, RGB.
Image sampleScene();

// The image with white Gaussian noise of that standard deviation, in levels of 255. The same seed
// gives the same noise.
Image withNoise(const Image& image, double sigma, std::uint64_t seed);

// sample.png.
inline Image sampleImage() {
  return withNoise(sampleScene(), 20, 1);
}

}  // namespace penstock::examples
