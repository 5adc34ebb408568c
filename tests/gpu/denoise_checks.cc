#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
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

}  // namespace

void checkDenoise(Table& table, bool small) {
  std::mt19937 random(5);
  const auto upTo = [&random](std::size_t most) { return 1 + random() % most; };
  const Image scene = examples::sampleScene();
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  double worst_share = 1;
  double worst_gain = 0;
  const int images = small ? 6 : 60;
  for (int i = 0; i < images; ++i) {
    const std::size_t side = small ? 70 : 400;
    const Image clean = cut(scene, upTo(side), upTo(side), i % 2 == 0 ? 3 : 1);
    const Image noisy = examples::withNoise(clean, 20, static_cast<std::uint64_t>(i));
    const NonLocalMeans parameters{.search_radius = small ? upTo(4) : upTo(20),
                                   .patch_radius = static_cast<std::size_t>(i) % 6,
                                   .sigma = 20,
                                   .threads = cores};
    const Image wanted = examples::denoise(noisy, parameters, [] { return false; });
    DeviceFilter on_device(lanes(), parameters);
    Image got = noisy;
    filter(on_device, got, 20);
    std::size_t close = 0;
    for (std::size_t k = 0; k < got.pixels.size(); ++k) {
      close += std::abs(got.pixels[k] - wanted.pixels[k]) <= 1 ? 1 : 0;
    }
    worst_share =
        std::min(worst_share, static_cast<double>(close) / static_cast<double>(got.pixels.size()));
    const double both = std::max(squaredError(got, clean), 1e-9);
    worst_gain = std::max(
        worst_gain, std::abs(10 * std::log10(both / std::max(squaredError(wanted, clean), 1e-9))));
  }
  table.row("denoise: pixels within 1 level of the reference, worst of " + std::to_string(images),
            text("%.4f %%", 100 * worst_share), "≥ 99.9 %", worst_share >= 0.999);
  table.row("denoise: difference in PSNR gain, worst", text("%.4f dB", worst_gain), "≤ 0.05 dB",
            worst_gain <= 0.05);
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

// For each pixel and offset of the search square, whatever the code: the squared difference of two
// packed pixels (2), the patch's sum by sliding windows (4), a weight (multiply-add, maximum, and
// an exponential of the special function units), its sum (1), and for each channel a conversion and
// a multiply-add. Bytes: each pixel read once and written once.
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
