#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "examples/denoise/device_filter.h"
#include "examples/denoise/sample.h"
#include "tests/gpu/busy_kernel.h"
#include "tests/gpu/checks.h"
#include "tests/gpu/must.h"

namespace penstock {
namespace {

using examples::DeviceFilter;
using examples::Image;
using examples::NonLocalMeans;
using runtime::cuda::LaneSet;

std::unique_ptr<LaneSet> lanes(std::size_t limit_bytes = 0) {
  return must(LaneSet::make(must(runtime::cuda::openDevices()),
                            {.lanes = 1, .device_limit_bytes = limit_bytes}));
}

Duration filter(DeviceFilter& on_device, Image& image, double sigma) {
  DeviceFilter::Lease workspace;
  must(on_device.launch(image, sigma, 0, workspace));
  const Duration time = must(workspace->awaitKernels());
  must(DeviceFilter::collect(workspace, image));
  return time;
}

double squaredError(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const double d = static_cast<double>(a.pixels[i]) - b.pixels[i];
    sum += d * d;
  }
  return sum / static_cast<double>(a.pixels.size());
}

Image cut(const Image& from, std::size_t width, std::size_t height, std::size_t channels) {
  Image image{.width = width, .height = height, .channels = channels, .pixels = {}};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        image.pixels.push_back(from.row(y % from.height)[(x % from.width) * from.channels + c]);
      }
    }
  }
  return image;
}

// How near the device comes to the reference.
struct Nearness {
  double share = 1;  // of the pixels within 1 level
  double gain = 0;   // how far the gains in PSNR are apart, in dB
};

Nearness compare(const Image& clean, const NonLocalMeans& parameters, std::uint64_t seed) {
  const Image noisy = examples::withNoise(clean, 20, seed);
  const Image wanted = examples::denoise(noisy, parameters, [] { return false; });
  DeviceFilter on_device(lanes(), parameters);
  Image got = noisy;
  filter(on_device, got, 20);
  std::size_t close = 0;
  for (std::size_t k = 0; k < got.pixels.size(); ++k) {
    close += std::abs(got.pixels[k] - wanted.pixels[k]) <= 1 ? 1 : 0;
  }
  const double error = std::max(squaredError(got, clean), 1e-9);
  return {.share = static_cast<double>(close) / static_cast<double>(got.pixels.size()),
          .gain = std::abs(10 * std::log10(error / std::max(squaredError(wanted, clean), 1e-9)))};
}

NonLocalMeans parametersOf(std::size_t search_radius, std::size_t patch_radius) {
  return {.search_radius = search_radius,
          .patch_radius = patch_radius,
          .sigma = 20,
          .threads = std::max(1u, std::thread::hardware_concurrency())};
}

void checkRandomSizes(Table& table, bool small) {
  std::mt19937 random(5);
  const auto upTo = [&random](std::size_t most) { return 1 + random() % most; };
  const Image scene = examples::sampleScene();
  Nearness worst;
  const std::size_t images = small ? 6 : 60;
  for (std::size_t i = 0; i < images; ++i) {
    const std::size_t side = small ? 70 : 400;
    const Image clean = cut(scene, upTo(side), upTo(side), i % 2 == 0 ? 3 : 1);
    const Nearness one = compare(clean, parametersOf(upTo(small ? 4 : 20), i % 6), i);
    worst = {.share = std::min(worst.share, one.share), .gain = std::max(worst.gain, one.gain)};
  }
  table.row("denoise: pixels within 1 level of the reference, worst of " + std::to_string(images),
            text("%.4f %%", 100 * worst.share), "≥ 99.9 %", worst.share >= 0.999);
  table.row("denoise: difference in PSNR gain, worst", text("%.4f dB", worst.gain), "≤ 0.05 dB",
            worst.gain <= 0.05);
}

// Lines and points, and images of about one tile of the kernel's (non_local_means.cuh) and of about
// two. Of gains in PSNR so few pixels say nothing.
void checkEdges(Table& table, bool small) {
  constexpr std::size_t kTileRows = 64;
  const Image scene = examples::sampleScene();
  double worst = 1;
  std::size_t images = 0;
  for (std::size_t patch = 0; patch < 6; ++patch) {
    const std::size_t columns = 32 - 2 * patch;
    std::vector<std::pair<std::size_t, std::size_t>> sizes = {{1, 1}, {1, 131}, {131, 1}};
    for (std::size_t tiles = 1; tiles <= (small ? 1u : 2u); ++tiles) {
      for (const std::size_t width : {tiles * columns - 1, tiles * columns, tiles * columns + 1}) {
        for (const std::size_t height :
             {tiles * kTileRows - 1, tiles * kTileRows, tiles * kTileRows + 1}) {
          sizes.emplace_back(width, height);
        }
      }
    }
    for (const auto& [width, height] : sizes) {
      const std::size_t channels = images % 2 == 0 ? 3 : 1;
      const NonLocalMeans parameters = parametersOf(small ? 2 : 1 + images % 20, patch);
      worst =
          std::min(worst, compare(cut(scene, width, height, channels), parameters, images).share);
      ++images;
    }
  }
  table.row(
      "denoise: the same at the edges of tiles and on lines, worst of " + std::to_string(images),
      text("%.4f %%", 100 * worst), "≥ 99.9 %", worst >= 0.999);
}

}  // namespace

void checkDenoise(Table& table, bool small) {
  checkRandomSizes(table, small);
  checkEdges(table, small);
}

void checkOutOfMemory(Table& table) {
  const NonLocalMeans parameters{.search_radius = 2, .patch_radius = 1};
  Image image = examples::sampleImage();
  DeviceFilter bounded(lanes(image.pixels.size()), parameters);
  DeviceFilter::Lease workspace;
  auto refused = bounded.launch(image, 20, 0, workspace);
  bool good = !refused && refused.error().fault == runtime::cuda::DeviceFault::kOutOfMemory;
  workspace.reset();

  // The device's own refusal, of more than it has.
  auto set = lanes();
  {
    auto huge = set->takeWorkspace(0);
    auto too_much = huge->reserve({.input = 1, .output = 1, .scratch = std::size_t{1} << 46});
    good = good && !too_much && too_much.error().fault == runtime::cuda::DeviceFault::kOutOfMemory;
  }
  DeviceFilter after(std::move(set), parameters);
  filter(after, image, 20);
  table.row("out of device memory: refused, and the next request runs", good ? "yes" : "no", "yes",
            good);
}

// The floor, as docs/gpu.md has it: for each pixel and offset of the search square the squared
// difference of two packed pixels (2), the patch's sum by sliding windows (4), a weight
// (multiply-add, maximum, and an exponential of the special function units), its sum (1), and for
// each channel a conversion and a multiply-add. Bytes: each pixel read once and written once.
void timeDenoise(Table& table) {
  const NonLocalMeans parameters;
  DeviceLimits limits;
  if (const char* error = readDeviceLimits(limits); error != nullptr) {
    giveUp(std::string("the device's limits: ") + error);
  }
  for (const std::size_t channels : {3, 1}) {
    const Image image = cut(examples::sampleImage(), 4000, 3000, channels);
    DeviceFilter on_device(lanes(), parameters);
    std::vector<double> seconds;
    for (int i = 0; i < 24; ++i) {
      Image result = image;
      seconds.push_back(inSeconds(filter(on_device, result, 20)));
    }
    // The first load the kernel and wake a device whose clock was low.
    seconds.erase(seconds.begin(), seconds.begin() + 12);
    std::ranges::sort(seconds);
    const double median = seconds[seconds.size() / 2];
    const double pixels = static_cast<double>(image.width * image.height);
    const auto side = static_cast<double>(2 * parameters.search_radius + 1);
    const double per_offset = 2 + 4 + 2 + 1 + 2 * static_cast<double>(channels);
    const double floor =
        std::max({pixels * side * side * per_offset / limits.lane_instructions_per_second,
                  pixels * side * side / limits.exponentials_per_second,
                  2 * pixels * static_cast<double>(channels) / limits.bytes_per_second});
    const std::string what = channels == 3 ? "denoise, 12 MP RGB" : "denoise, 12 MP grey";
    table.figure(what + ": throughput", text("%.0f MP/s", pixels / median / 1e6));
    table.figure(what + ": time over its floor", text("%.2f", median / floor));
  }
}

}  // namespace penstock
