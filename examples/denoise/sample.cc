#include "examples/denoise/sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <random>

namespace penstock::examples {
namespace {

constexpr std::size_t kWidth = 320;
constexpr std::size_t kHeight = 240;

using Colour = std::array<double, 3>;

Colour mix(const Colour& a, const Colour& b, double share) {
  Colour mixed;
  for (std::size_t c = 0; c < 3; ++c) {
    mixed[c] = a[c] + (b[c] - a[c]) * share;
  }
  return mixed;
}

bool inDisc(double x, double y, double centre_x, double centre_y, double radius) {
  return std::hypot(x - centre_x, y - centre_y) < radius;
}

Colour house(double x, double y) {
  const bool window =
      (x > 52 && x < 66 && y > 150 && y < 168) || (x > 84 && x < 98 && y > 150 && y < 168);
  if (window) {
    return {60, 80, 110};
  }
  const bool mortar = std::fmod(y, 6) < 1 || std::fmod(x + (std::fmod(y, 12) < 6 ? 0 : 5), 10) < 1;
  return mortar ? Colour{190, 170, 150} : Colour{165, 80, 60};
}

Colour colourAt(double x, double y) {
  const double hills = 140 + 18 * std::sin(x / 41) + 9 * std::sin(x / 17 + 1);
  if (x > 40 && x < 110 && y > 130 && y < 200) {
    return house(x, y);
  }
  if (y > 98 && y < 130 && std::abs(x - 75) < (y - 98) * 1.3) {
    return {120, 50, 45};
  }
  if (inDisc(x, y, 250, 55, 26)) {
    return {255, 225, 140};
  }
  if (inDisc(x, y, 222, 150, 30) || inDisc(x, y, 250, 162, 24)) {
    const double leaves = std::sin(x * 1.1) * std::sin(y * 0.9);
    return mix({40, 95, 45}, {80, 140, 70}, 0.5 + 0.5 * leaves);
  }
  if (std::abs(x - 232) < 5 && y > 160 && y < 215) {
    return {95, 70, 50};
  }
  if (y < hills) {
    return mix({95, 145, 210}, {210, 225, 240}, y / hills);
  }
  const double furrow = std::fmod(x * 0.5 + y, 14) < 2 ? 0.35 : 0;
  return mix(mix({120, 160, 80}, {150, 140, 70}, (y - hills) / (kHeight - hills)), {80, 70, 40},
             furrow);
}

std::uint8_t toLevel(double value) {
  return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
}

}  // namespace

Image sampleScene() {
  Image image{.width = kWidth, .height = kHeight, .channels = 3, .pixels = {}};
  for (std::size_t y = 0; y < kHeight; ++y) {
    for (std::size_t x = 0; x < kWidth; ++x) {
      for (const double value : colourAt(static_cast<double>(x), static_cast<double>(y))) {
        image.pixels.push_back(toLevel(value));
      }
    }
  }
  return image;
}

// Box and Muller's way, since the standard leaves open how std::normal_distribution gets its
// numbers.
Image withNoise(const Image& image, double sigma, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  // In (0, 1].
  const auto uniform = [&random] { return (static_cast<double>(random() >> 11) + 1) * 0x1p-53; };
  Image noisy = image;
  for (std::uint8_t& pixel : noisy.pixels) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    pixel = toLevel(pixel + sigma * radius * std::cos(2 * std::numbers::pi * uniform()));
  }
  return noisy;
}

}  // namespace penstock::examples
