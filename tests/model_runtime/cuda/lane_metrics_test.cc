#include "model_runtime/cuda/lane_metrics.h"

#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

// What the page would show, as "name{label=value,…}".
class Page {
 public:
  LoadContext context() {
    LoadContext context;
    context.add_metric = [this](ModelMetric metric) -> ModelResult<void> {
      std::string key = metric.name;
      char before = '{';
      for (const auto& [label, value] : metric.labels) {
        key += std::exchange(before, ',') + label + "=" + value;
      }
      if (!reads_.emplace(key + "}", metric.read).second) {
        return modelFailure(ErrorKind::kInternal, key);
      }
      return {};
    };
    return context;
  }
  double operator[](const std::string& key) const {
    return reads_.at("penstock_model_gpu_" + key)();
  }

 private:
  std::map<std::string, std::function<double()>> reads_;
};

TEST(LaneMetrics, SayWhatEachGpuDidAndHolds) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<FakeDevice>("a", 4 * kMiB));
  devices.push_back(std::make_unique<FakeDevice>("b", 4 * kMiB));
  auto lanes = std::move(*LaneSet::make(std::move(devices), {.lanes = 3}));
  Page page;
  ASSERT_TRUE(showLanes(*lanes, page.context()).has_value());
  for (const char* lane : {"{gpu=0,lane=0}", "{gpu=1,lane=1}", "{gpu=0,lane=2}"}) {
    EXPECT_EQ(page[std::string("kernel_seconds_total") + lane], 0);
  }

  Lane& lane = lanes->lane(1);
  for (int i = 0; i < 3; ++i) {
    auto workspace = lanes->takeWorkspace(1);
    ASSERT_TRUE(workspace->reserve({.input = 10, .output = 10}) && workspace->upload() &&
                workspace->begin(lane));
    static_cast<FakeDevice&>(lane.device()).kernel(lane.stream(), [] {});
    ASSERT_TRUE(workspace->end(lane) && workspace->awaitKernels());
  }
  auto refused = lanes->takeWorkspace(1);
  ASSERT_FALSE(refused->reserve({.input = 10, .output = 10, .scratch = 5 * kMiB}).has_value());
  EXPECT_EQ(page["kernel_seconds_total{gpu=1,lane=1}"], 3 * inSeconds(FakeDevice::kKernelTime));
  EXPECT_EQ(page["kernel_seconds_total{gpu=0,lane=0}"], 0);
  for (const auto& [kind, word] : {std::pair(Device::Memory::kDevice, "device"),
                                   std::pair(Device::Memory::kPinned, "pinned")}) {
    const double bytes = page[std::string("reserved_bytes{gpu=1,memory=") + word + "}"];
    EXPECT_GT(bytes, 0);
    EXPECT_EQ(bytes, static_cast<FakeDevice&>(lane.device()).liveBytes(kind));
    EXPECT_EQ(page[std::string("reserved_bytes{gpu=0,memory=") + word + "}"], 0);
  }
  EXPECT_EQ(page["refusals_total{gpu=1}"], 1);
  EXPECT_EQ(page["refusals_total{gpu=0}"], 0);
  EXPECT_EQ(page["allocations_total{gpu=1}"], 4)
      << "input and output, each in memory of both kinds";
}

TEST(LaneMetrics, SayWhyTheyCannotBeShown) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<FakeDevice>());
  auto lanes = std::move(*LaneSet::make(std::move(devices), {.lanes = 1}));
  Page page;
  ASSERT_TRUE(showLanes(*lanes, page.context()).has_value());
  EXPECT_FALSE(showLanes(*lanes, page.context()).has_value()) << "twice";
}

}  // namespace
}  // namespace penstock::runtime::cuda
