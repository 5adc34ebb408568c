// The reference on the CPU. For each offset of the search square the squared differences of the
// image and its shifted self are summed over patches by a sliding window down the columns, so that
// the cost per pixel and offset hardly depends on the patch. Work is cut into tiles whose sums stay
// in the cache; threads take the next tile from a counter. The loops over x are written for the
// compiler to vectorise.

#include "examples/denoise/non_local_means.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <thread>
#include <vector>

namespace penstock::examples {
namespace {

constexpr std::size_t kTileWidth = 256;
constexpr std::size_t kTileHeight = 64;
// Below this an image has no noise worth the name (quantisation alone makes 0.29).
constexpr double kNoNoise = 0.3;

// The image with a mirrored border, one plane per channel.
struct Planes {
  Planes(const Image& image, std::size_t the_border);

  const std::uint8_t* at(std::size_t channel, std::ptrdiff_t y, std::ptrdiff_t x) const {
    const auto row = static_cast<std::size_t>(y + static_cast<std::ptrdiff_t>(border));
    return pixels.data() + (channel * rows + row) * stride + border + x;
  }

  std::size_t border;
  std::size_t stride;
  std::size_t rows;
  std::vector<std::uint8_t> pixels;
};

// … 2 1 0 0 1 2 … n-1 n-1 …, as often as needed.
std::size_t mirror(std::ptrdiff_t i, std::size_t n) {
  const auto period = static_cast<std::ptrdiff_t>(2 * n);
  const std::ptrdiff_t folded = (i % period + period) % period;
  return static_cast<std::size_t>(std::min(folded, period - 1 - folded));
}

Planes::Planes(const Image& image, std::size_t the_border)
    : border(the_border),
      stride(image.width + 2 * border),
      rows(image.height + 2 * border),
      pixels(image.channels * stride * rows) {
  std::uint8_t* out = pixels.data();
  for (std::size_t c = 0; c < image.channels; ++c) {
    for (std::size_t y = 0; y < rows; ++y) {
      const std::uint8_t* row =
          image.row(mirror(static_cast<std::ptrdiff_t>(y - border), image.height));
      for (std::size_t x = 0; x < stride; ++x) {
        *out++ =
            row[mirror(static_cast<std::ptrdiff_t>(x - border), image.width) * image.channels + c];
      }
    }
  }
}

// exp(-t) for t ≥ 0, within 0.02 %; 0 beyond 60. 2^-t log2(e) is split into a power of two, put
// into the exponent, and a fraction, for which a cubic does.
inline float expMinus(float t) {
  const float y = std::min(t, 60.0f) * std::numbers::log2e_v<float>;
  const auto whole = static_cast<std::int32_t>(y);
  const float f = y - static_cast<float>(whole);
  const float power = 1.0f + f * (-0.69280f + f * (0.23522f + f * -0.04242f));
  const float scale = std::bit_cast<float>((127 - whole) << 23);
  return power * scale;
}

// The inner loops. What they are given does not overlap.

void add(const std::int32_t* __restrict from, std::size_t count, std::int32_t* __restrict to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] += from[i];
  }
}

void subtract(const std::int32_t* __restrict from, std::size_t count, std::int32_t* __restrict to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] -= from[i];
  }
}

// 255² fits 16 bits, of which one instruction multiplies eight.
void addSquares(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b,
                std::size_t count, std::int32_t* __restrict to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto d = static_cast<std::int16_t>(a[i] - b[i]);
    to[i] += static_cast<std::uint16_t>(d * d);
  }
}

void addWeights(const std::int32_t* __restrict distances, std::size_t count, float scale,
                float floor, float* __restrict weights, float* __restrict weight_sums) {
  for (std::size_t i = 0; i < count; ++i) {
    const float t = static_cast<float>(distances[i]) * scale - floor;
    weights[i] = expMinus(std::max(t, 0.0f));
    weight_sums[i] += weights[i];
  }
}

void addWeighted(const std::uint8_t* __restrict pixels, const float* __restrict weights,
                 std::size_t count, float* __restrict sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] += weights[i] * static_cast<float>(pixels[i]);
  }
}

struct Tile {
  std::ptrdiff_t x, y;
  std::size_t width, height;
};

// What one thread works in.
struct Scratch {
  Scratch(std::size_t channels, std::size_t patch_radius)
      : line(kTileWidth + 2 * patch_radius),
        differences((2 * patch_radius + 1) * line),
        columns(line),
        distances(kTileWidth),
        weights(kTileWidth),
        weight_sums(kTileWidth * kTileHeight),
        sums(channels * kTileWidth * kTileHeight) {}

  std::size_t line;
  std::vector<std::int32_t> differences;  // the last patch height of lines, as a ring
  std::vector<std::int32_t> columns;      // their sums
  std::vector<std::int32_t> distances;    // d², not yet divided, of one row
  std::vector<float> weights;
  std::vector<float> weight_sums;
  std::vector<float> sums;
};

class Filter {
 public:
  Filter(const Image& in, const NonLocalMeans& parameters, double sigma, Image& out)
      : in_(in),
        out_(out),
        search_(static_cast<std::ptrdiff_t>(parameters.search_radius)),
        patch_(static_cast<std::ptrdiff_t>(parameters.patch_radius)),
        planes_(in, parameters.search_radius + parameters.patch_radius) {
    const PatchWeights weights = patchWeights(parameters, in.channels, sigma);
    scale_ = static_cast<float>(weights.scale);
    floor_ = static_cast<float>(weights.floor);
  }

  std::size_t tiles() const {
    return tilesAcross() * ((in_.height + kTileHeight - 1) / kTileHeight);
  }

  void run(std::size_t index, Scratch& scratch, const std::function<bool()>& cancelled) const {
    const std::size_t x = index % tilesAcross() * kTileWidth;
    const std::size_t y = index / tilesAcross() * kTileHeight;
    const Tile tile{.x = static_cast<std::ptrdiff_t>(x),
                    .y = static_cast<std::ptrdiff_t>(y),
                    .width = std::min(kTileWidth, in_.width - x),
                    .height = std::min(kTileHeight, in_.height - y)};
    std::ranges::fill(scratch.weight_sums, 0.0f);
    std::ranges::fill(scratch.sums, 0.0f);
    for (std::ptrdiff_t dy = -search_; dy <= search_ && !cancelled(); ++dy) {
      for (std::ptrdiff_t dx = -search_; dx <= search_; ++dx) {
        addOffset(tile, dx, dy, scratch);
      }
    }
    write(tile, scratch);
  }

 private:
  std::size_t tilesAcross() const { return (in_.width + kTileWidth - 1) / kTileWidth; }

  void addOffset(const Tile& tile, std::ptrdiff_t dx, std::ptrdiff_t dy, Scratch& scratch) const {
    const auto side = static_cast<std::size_t>(2 * patch_ + 1);
    const std::size_t line = tile.width + side - 1;
    std::ranges::fill(scratch.columns, 0);
    for (std::size_t i = 0; i < tile.height + side - 1; ++i) {
      std::int32_t* ring = scratch.differences.data() + i % side * scratch.line;
      std::int32_t* columns = scratch.columns.data();
      if (i >= side) {
        subtract(ring, line, columns);
      }
      difference(tile.y - patch_ + static_cast<std::ptrdiff_t>(i), tile.x - patch_, dx, dy, line,
                 ring);
      add(ring, line, columns);
      if (i + 1 >= side) {
        addRow(tile, i + 1 - side, dx, dy, scratch);
      }
    }
  }

  // Squared differences of count pixels from (x, y) and from (x + dx, y + dy), over all channels.
  void difference(std::ptrdiff_t y, std::ptrdiff_t x, std::ptrdiff_t dx, std::ptrdiff_t dy,
                  std::size_t count, std::int32_t* out) const {
    std::fill_n(out, count, 0);
    for (std::size_t c = 0; c < in_.channels; ++c) {
      addSquares(planes_.at(c, y, x), planes_.at(c, y + dy, x + dx), count, out);
    }
  }

  void addRow(const Tile& tile, std::size_t row, std::ptrdiff_t dx, std::ptrdiff_t dy,
              Scratch& scratch) const {
    const auto side = static_cast<std::size_t>(2 * patch_ + 1);
    float* weights = scratch.weights.data();
    float* weight_sums = scratch.weight_sums.data() + row * kTileWidth;
    std::int32_t* distances = scratch.distances.data();
    std::copy_n(scratch.columns.data(), tile.width, distances);
    for (std::size_t i = 1; i < side; ++i) {
      add(scratch.columns.data() + i, tile.width, distances);
    }
    addWeights(distances, tile.width, scale_, floor_, weights, weight_sums);
    for (std::size_t c = 0; c < in_.channels; ++c) {
      const auto y = tile.y + static_cast<std::ptrdiff_t>(row) + dy;
      addWeighted(planes_.at(c, y, tile.x + dx), weights, tile.width,
                  scratch.sums.data() + (c * kTileHeight + row) * kTileWidth);
    }
  }

  void write(const Tile& tile, const Scratch& scratch) const {
    for (std::size_t row = 0; row < tile.height; ++row) {
      std::uint8_t* out = out_.row(static_cast<std::size_t>(tile.y) + row) +
                          static_cast<std::size_t>(tile.x) * in_.channels;
      const float* weight_sums = scratch.weight_sums.data() + row * kTileWidth;
      for (std::size_t x = 0; x < tile.width; ++x) {
        for (std::size_t c = 0; c < in_.channels; ++c) {
          const float sum = scratch.sums[(c * kTileHeight + row) * kTileWidth + x];
          // No weight at all only in what was cancelled.
          const float mean = weight_sums[x] > 0 ? sum / weight_sums[x] : 0.0f;
          *out++ = static_cast<std::uint8_t>(std::min(mean + 0.5f, 255.0f));
        }
      }
    }
  }

  const Image& in_;
  Image& out_;
  const std::ptrdiff_t search_;
  const std::ptrdiff_t patch_;
  const Planes planes_;
  float scale_;  // from a sum of squared differences to d² / h²
  float floor_;  // 2σ² / h²
};

}  // namespace

PatchWeights patchWeights(const NonLocalMeans& parameters, std::size_t channels, double sigma) {
  const double strength = channels == 3 && sigma <= 25 ? 0.55 : 0.40;
  const double h = strength * sigma;
  const auto side = static_cast<double>(2 * parameters.patch_radius + 1);
  return {.scale = 1 / (side * side * static_cast<double>(channels) * h * h),
          .floor = 2 * sigma * sigma / (h * h)};
}

bool hasNoise(double sigma) {
  return sigma >= kNoNoise;
}

Image denoise(const Image& image, const NonLocalMeans& parameters,
              const std::function<bool()>& cancelled) {
  const double sigma = parameters.sigma > 0 ? parameters.sigma : estimateNoise(image);
  if (!hasNoise(sigma)) {
    return image;
  }
  Image out{.width = image.width,
            .height = image.height,
            .channels = image.channels,
            .pixels = std::vector<std::uint8_t>(image.pixels.size())};
  const Filter filter(image, parameters, sigma, out);
  const std::size_t tiles = filter.tiles();
  const std::size_t workers = std::clamp<std::size_t>(parameters.threads, 1, tiles);
  std::atomic<std::size_t> next = 0;
  // Allocated here, where running out of memory is an exception and not the end.
  std::vector<Scratch> scratches(workers, Scratch(image.channels, parameters.patch_radius));
  const auto work = [&](Scratch& scratch) {
    for (std::size_t tile = next++; tile < tiles && !cancelled(); tile = next++) {
      filter.run(tile, scratch, cancelled);
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < workers; ++i) {
    others.emplace_back([&work, &scratch = scratches[i]] { work(scratch); });
  }
  work(scratches[0]);
  others.clear();
  return out;
}

double estimateNoise(const Image& image) {
  if (image.width < 3 || image.height < 3) {
    return 0;
  }
  const std::size_t step = image.channels;
  std::uint64_t sum = 0;
  for (std::size_t y = 1; y + 1 < image.height; ++y) {
    const std::uint8_t* above = image.row(y - 1);
    const std::uint8_t* here = image.row(y);
    const std::uint8_t* below = image.row(y + 1);
    for (std::size_t i = step; i + step < image.rowBytes(); ++i) {
      const int corners = above[i - step] + above[i + step] + below[i - step] + below[i + step];
      const int edges = above[i] + below[i] + here[i - step] + here[i + step];
      sum += static_cast<std::uint64_t>(std::abs(corners - 2 * edges + 4 * here[i]));
    }
  }
  const auto samples = static_cast<double>((image.width - 2) * (image.height - 2) * step);
  // The mask's coefficients squared sum to 36, and E|N(0, 6σ)| = 6σ √(2/π).
  return std::sqrt(std::numbers::pi / 2) * static_cast<double>(sum) / (6 * samples);
}

}  // namespace penstock::examples
