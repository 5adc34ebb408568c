#include "examples/denoise/non_local_means.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include <gtest/gtest.h>

#include "examples/denoise/sample.h"

namespace penstock::examples {
namespace {

const auto kNeverCancelled = [] { return false; };

double psnr(const Image& a, const Image& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    squares += std::pow(a.pixels[i] - b.pixels[i], 2);
  }
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.pixels.size()) / squares);
}

Image cut(const Image& image, std::size_t width, std::size_t height, std::size_t channels) {
  Image part{.width = width, .height = height, .channels = channels, .pixels = {}};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        part.pixels.push_back(image.row(y + 100)[(x + 30) * image.channels + c]);
      }
    }
  }
  return part;
}

int pixelAt(const Image& image, int y, int x, std::size_t c) {
  const auto fold = [](int i, int n) {
    while (i < 0 || i >= n) {
      i = i < 0 ? -1 - i : 2 * n - 1 - i;
    }
    return static_cast<std::size_t>(i);
  };
  return image.row(fold(
      y,
      static_cast<int>(image.height)))[fold(x, static_cast<int>(image.width)) * image.channels + c];
}

// The formula, word for word: what the fast way is held against.
Image denoiseSlowly(const Image& image, int search, int patch, double sigma) {
  Image out = image;
  const double h = (image.channels == 3 && sigma <= 25 ? 0.55 : 0.40) * sigma;
  const double area = std::pow(2 * patch + 1, 2) * static_cast<double>(image.channels);
  for (int y = 0; y < static_cast<int>(image.height); ++y) {
    for (int x = 0; x < static_cast<int>(image.width); ++x) {
      std::vector<double> sums(image.channels);
      double weights = 0;
      for (int dy = -search; dy <= search; ++dy) {
        for (int dx = -search; dx <= search; ++dx) {
          double distance = 0;
          for (int j = -patch; j <= patch; ++j) {
            for (int i = -patch; i <= patch; ++i) {
              for (std::size_t c = 0; c < image.channels; ++c) {
                distance += std::pow(
                    pixelAt(image, y + j, x + i, c) - pixelAt(image, y + dy + j, x + dx + i, c), 2);
              }
            }
          }
          const double weight =
              std::exp(-std::max(distance / area - 2 * sigma * sigma, 0.0) / (h * h));
          weights += weight;
          for (std::size_t c = 0; c < image.channels; ++c) {
            sums[c] += weight * pixelAt(image, y + dy, x + dx, c);
          }
        }
      }
      for (std::size_t c = 0; c < image.channels; ++c) {
        out.row(static_cast<std::size_t>(y))[static_cast<std::size_t>(x) * image.channels + c] =
            static_cast<std::uint8_t>(std::lround(sums[c] / weights));
      }
    }
  }
  return out;
}

TEST(NonLocalMeans, IsTheFormula) {
  const Image sample = sampleImage();
  for (const std::size_t channels : {1u, 3u}) {
    const Image image = cut(sample, 19, 13, channels);
    const Image fast =
        denoise(image, {.search_radius = 4, .patch_radius = 1, .sigma = 20}, kNeverCancelled);
    const Image slow = denoiseSlowly(image, 4, 1, 20);
    for (std::size_t i = 0; i < slow.pixels.size(); ++i) {
      ASSERT_NEAR(fast.pixels[i], slow.pixels[i], 1) << "channels " << channels << ", byte " << i;
    }
  }
}

TEST(NonLocalMeans, BringsANoisyImageNearTheCleanOne) {
  const Image clean = sampleScene();
  const Image noisy = sampleImage();
  const Image denoised = denoise(noisy, {.threads = 2}, kNeverCancelled);
  EXPECT_LT(psnr(clean, noisy), 23);
  EXPECT_GT(psnr(clean, denoised), psnr(clean, noisy) + 6)
      << "from " << psnr(clean, noisy) << " dB to " << psnr(clean, denoised) << " dB";
}

TEST(NonLocalMeans, IsTheSameWhateverTheNumberOfThreadsAndTiles) {
  Image noisy = sampleImage();
  const Image one = denoise(noisy, {.search_radius = 2, .threads = 1}, kNeverCancelled);
  const Image four = denoise(noisy, {.search_radius = 2, .threads = 4}, kNeverCancelled);
  EXPECT_EQ(one.pixels, four.pixels);
}

TEST(NonLocalMeans, LeavesAnImageWithoutNoiseAlone) {
  const Image flat{
      .width = 50, .height = 50, .channels = 1, .pixels = std::vector<std::uint8_t>(2500, 77)};
  EXPECT_EQ(denoise(flat, {}, kNeverCancelled).pixels, flat.pixels);
}

TEST(NonLocalMeans, TakesTheSmallestImages) {
  for (const std::size_t side : {1u, 2u, 3u}) {
    const Image image = cut(sampleImage(), side, side, 3);
    EXPECT_EQ(denoise(image, {.sigma = 20}, kNeverCancelled).pixels.size(), image.pixels.size());
  }
}

TEST(NonLocalMeans, EndsEarlyWhenCancelled) {
  std::atomic<int> asked = 0;
  denoise(sampleImage(), {.threads = 2}, [&asked] { return ++asked > 3; });
  EXPECT_LT(asked, 12);
}

TEST(NoiseEstimate, IsNearTheTruth) {
  const Image clean = sampleScene();
  for (const double sigma : {5.0, 20.0, 40.0}) {
    EXPECT_NEAR(estimateNoise(withNoise(clean, sigma, 3)), sigma, 4) << sigma;
  }
}

}  // namespace
}  // namespace penstock::examples
