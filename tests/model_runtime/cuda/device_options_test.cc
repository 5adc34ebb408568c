#include "model_runtime/cuda/device_options.h"

#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What the next look for devices gives, in place of CUDA's: so many, or that fault.
std::size_t devices_there = 0;
DeviceFault fault_there = DeviceFault::kAbsent;

}  // namespace

DeviceResult<std::vector<std::unique_ptr<Device>>> openDevices() {
  if (devices_there == 0) {
    return std::unexpected(DeviceError{.fault = fault_there, .message = "none", .where = {}});
  }
  std::vector<std::unique_ptr<Device>> devices;
  while (devices.size() < devices_there) {
    devices.push_back(std::make_unique<FakeDevice>("fake " + std::to_string(devices.size())));
  }
  return devices;
}

namespace {

class DeviceOptionsTest : public testing::Test {
 protected:
  ModelResult<std::unique_ptr<LaneSet>> open(const DeviceOptions& options, std::size_t lanes = 1) {
    LoadContext context;
    context.predict_concurrency = lanes;
    context.log = [this](std::string_view line) { said_.emplace_back(line); };
    context.add_metric = [this](const ModelMetric& metric) {
      metrics_.push_back(metric.name);
      return ModelResult<void>();
    };
    return openLanes(options, context);
  }
  std::string refusal(const DeviceOptions& options) {
    const auto lanes = open(options);
    EXPECT_FALSE(lanes.has_value());
    return lanes.has_value() ? "" : lanes.error().message;
  }

  std::vector<std::string> said_;
  std::vector<std::string> metrics_;
};

TEST_F(DeviceOptionsTest, TakesItsOwnAndNoOthers) {
  DeviceOptions options;
  EXPECT_TRUE(options.take("device", "cpu"));
  EXPECT_TRUE(options.take("priority", "normal"));
  EXPECT_FALSE(options.take("threads", "4"));
  EXPECT_EQ(options.device, "cpu");
  EXPECT_EQ(options.priority, "normal");
}

TEST_F(DeviceOptionsTest, SaysWhatItExpects) {
  EXPECT_EQ(refusal({.device = "gpu"}), "options: device: expected cpu, cuda or auto");
  EXPECT_EQ(refusal({.device = "cpu", .priority = "urgent"}),
            "options: priority: expected high or normal");
}

TEST_F(DeviceOptionsTest, OpensLanesOnTheDevicesAndShowsThem) {
  devices_there = 2;
  for (const char* device : {"cuda", "auto"}) {
    said_.clear();
    const auto lanes = open({.device = device}, 3);
    ASSERT_TRUE(lanes.has_value() && *lanes != nullptr);
    EXPECT_EQ((*lanes)->lanes(), 3u);
    EXPECT_EQ((*lanes)->devices(), 2u);
    EXPECT_THAT(said_, ElementsAre("uses GPU 0, fake 0", "uses GPU 1, fake 1"));
    EXPECT_THAT(metrics_, testing::Contains("penstock_model_gpu_kernel_seconds_total"));
  }
}

TEST_F(DeviceOptionsTest, GivesTheLanesThatPriority) {
  devices_there = 1;
  for (const auto& [text, priority] : {std::pair("high", Device::Priority::kHigh),
                                       std::pair("normal", Device::Priority::kNormal)}) {
    const auto lanes = open({.priority = text});
    ASSERT_TRUE(lanes.has_value() && *lanes != nullptr);
    const Lane& lane = (*lanes)->lane(0);
    EXPECT_EQ(static_cast<FakeDevice&>(lane.device()).priority(lane.stream()), priority);
  }
}

TEST_F(DeviceOptionsTest, WithoutAGpuAutoUsesTheProcessorAndSaysSo) {
  devices_there = 0;
  fault_there = DeviceFault::kAbsent;
  const auto lanes = open({});
  ASSERT_TRUE(lanes.has_value());
  EXPECT_EQ(*lanes, nullptr);
  EXPECT_THAT(said_, ElementsAre("no GPU, so the processor is used: none"));
  EXPECT_EQ(refusal({.device = "cuda"}), "options: device: cuda: no GPU to use: none");
}

TEST_F(DeviceOptionsTest, AGpuThatIsThereAndDoesNotWorkIsAnError) {
  devices_there = 0;
  for (const DeviceFault fault : {DeviceFault::kFailed, DeviceFault::kLost}) {
    fault_there = fault;
    EXPECT_EQ(refusal({}),
              "options: device: auto: CUDA does not work here: none; device: cpu does "
              "without");
  }
}

TEST_F(DeviceOptionsTest, CpuLooksForNone) {
  devices_there = 1;
  const auto lanes = open({.device = "cpu"});
  ASSERT_TRUE(lanes.has_value());
  EXPECT_EQ(*lanes, nullptr);
  EXPECT_THAT(said_, IsEmpty());
}

}  // namespace
}  // namespace penstock::runtime::cuda
