#include "examples/denoise/device_filter.h"

#include <cmath>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::examples {
namespace {

using runtime::cuda::DeviceFault;
using runtime::cuda::FakeDevice;
using runtime::cuda::LaneSet;

// What the kernel's place was given last. A kernel is a plain function, so this is no member.
FakeDevice* device = nullptr;
KernelWeights last_weights;

void invert(const KernelImage& image, const KernelWeights& weights, void* stream) {
  last_weights = weights;
  device->kernel({stream}, [image] {
    const int bytes = image.width * image.height * image.channels;
    for (int i = 0; i < bytes; ++i) {
      image.out[i] = static_cast<std::uint8_t>(255 - image.in[i]);
    }
  });
}

class DeviceFilterTest : public testing::Test {
 protected:
  DeviceFilterTest() {
    auto fake = std::make_unique<FakeDevice>("fake", std::size_t{16} << 20);
    device = fake.get();
    std::vector<std::unique_ptr<runtime::cuda::Device>> devices;
    devices.push_back(std::move(fake));
    filter_ = std::make_unique<DeviceFilter>(
        std::move(*LaneSet::make(std::move(devices), {.lanes = 1})), parameters_, invert);
  }

  static Image image(std::size_t width, std::size_t height, std::size_t channels) {
    Image made{.width = width, .height = height, .channels = channels, .pixels = {}};
    for (std::size_t i = 0; i < width * height * channels; ++i) {
      made.pixels.push_back(static_cast<std::uint8_t>(i * 31 + width));
    }
    return made;
  }

  const NonLocalMeans parameters_{.search_radius = 3, .patch_radius = 1};
  std::unique_ptr<DeviceFilter> filter_;
};

TEST_F(DeviceFilterTest, BringsAnyImageThereAndBack) {
  for (const std::size_t channels : {1, 3}) {
    for (const std::size_t side : {1, 2, 7, 300}) {
      Image in = image(side, side + 1, channels);
      Image out = in;
      DeviceFilter::Lease workspace;
      ASSERT_TRUE(filter_->launch(in, 10, 0, workspace).has_value());
      in.pixels.clear();
      in.pixels.shrink_to_fit();
      ASSERT_TRUE(DeviceFilter::finish(*workspace).has_value());
      Image result = out;
      ASSERT_TRUE(DeviceFilter::collect(workspace, result).has_value());
      EXPECT_EQ(workspace, nullptr) << "given back";
      for (std::size_t i = 0; i < out.pixels.size(); ++i) {
        ASSERT_EQ(result.pixels[i], 255 - out.pixels[i]);
      }
    }
  }
  EXPECT_EQ(filter_->lanes().workspaces(0).taken(), 0u);
}

TEST_F(DeviceFilterTest, GivesTheKernelThePaperWeightsAsPowersOfTwo) {
  DeviceFilter::Lease workspace;
  ASSERT_TRUE(filter_->launch(image(8, 8, 3), 20, 0, workspace).has_value());
  const double h = 0.55 * 20;
  const double sum = 9 * 3 * 900;  // of squared differences: d² = 900
  const double expected = std::exp(-std::max(900.0 - 2 * 400, 0.0) / (h * h));
  EXPECT_NEAR(std::exp2(-(sum * last_weights.scale - last_weights.floor)), expected,
              1e-4 * expected);
  EXPECT_EQ(last_weights.search_radius, 3);
  EXPECT_EQ(last_weights.patch_radius, 1);
}

TEST_F(DeviceFilterTest, AnImageThatDoesNotFitIsNotBegunAndTheNextOneRuns) {
  DeviceFilter::Lease workspace;
  const auto refused = filter_->launch(image(3000, 3000, 3), 10, 0, workspace);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().fault, DeviceFault::kOutOfMemory);
  EXPECT_EQ(device->kernelsRun(), 0u);
  workspace.reset();
  EXPECT_TRUE(filter_->launch(image(30, 30, 3), 10, 0, workspace).has_value());
  EXPECT_EQ(device->kernelsRun(), 1u);
}

TEST_F(DeviceFilterTest, AnImageOfMoreRowsThanAGridHasIsRefusedAndNotBegun) {
  DeviceFilter::Lease workspace;
  const auto refused = filter_->launch(image(1, kMostRows + 1, 1), 10, 0, workspace);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message, "an image of more than 4194240 rows");
  EXPECT_EQ(workspace, nullptr);
  EXPECT_TRUE(filter_->launch(image(1, kMostRows, 1), 10, 0, workspace).has_value());
  EXPECT_EQ(device->kernelsRun(), 1u);
}

}  // namespace
}  // namespace penstock::examples
