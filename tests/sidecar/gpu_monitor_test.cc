#include "sidecar/gpu_monitor.h"

#include <cstdlib>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using runtime::cuda::Nvml;
using runtime::cuda::visibleDevices;
using runtime::cuda::visiblePart;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(VisibleDevices, AreNumbersOrNamesUpToTheFirstThatIsNeither) {
  EXPECT_THAT(visibleDevices("0,2"), ElementsAre("0", "2"));
  EXPECT_THAT(visibleDevices(" GPU-12ab , 3 "), ElementsAre("GPU-12ab", "3"));
  EXPECT_THAT(visibleDevices("1,-1,2"), ElementsAre("1"));
  EXPECT_THAT(visibleDevices(""), IsEmpty());
  EXPECT_THAT(visibleDevices("NoDevFiles"), IsEmpty());
}

TEST(VisibleDevices, MayBePartsOfAGpu) {
  EXPECT_EQ(visiblePart("MIG-12ab-3/1/0"), "MIG-12ab-3/1/0");
  EXPECT_EQ(visiblePart("0, MIG-1,MIG-2"), "MIG-1");
  EXPECT_EQ(visiblePart("0,GPU-12ab"), "");
  EXPECT_EQ(visiblePart(""), "");
}

TEST(Nvml, LooksAtTheGpusThatTheProcessMaySee) {
  const auto names = [](const char* visible) {
    auto nvml = Nvml::open(PENSTOCK_FAKE_NVML, visible);
    return nvml && *nvml != nullptr ? (*nvml)->names() : std::vector<std::string>();
  };
  EXPECT_THAT(names(nullptr), ElementsAre("Fake H200", "Fake A100"));
  EXPECT_THAT(names("1"), ElementsAre("Fake A100"));
  EXPECT_THAT(names("1,0"), ElementsAre("Fake A100", "Fake H200"));
  EXPECT_THAT(names("GPU-bb"), ElementsAre("Fake A100"));
  EXPECT_THAT(names("0,7,1"), ElementsAre("Fake H200"));
  EXPECT_THAT(names(""), IsEmpty());
}

TEST(Nvml, IsNothingWhereThereIsNothingToAsk) {
  const auto isNothing = [](const auto& nvml) { return nvml.has_value() && *nvml == nullptr; };
  EXPECT_TRUE(isNothing(Nvml::open("libpenstock-has-no-such.so", nullptr)));
  EXPECT_TRUE(isNothing(Nvml::open(PENSTOCK_FAKE_NVML, "")));
}

TEST(Nvml, SaysWhatIsMissing) {
  const auto none = Nvml::open("libm.so.6", nullptr);
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().message, "libm.so.6 has no nvmlInit_v2");
}

// Names that went with CUDA 13, those that came with it, or both.
TEST(Nvml, AsksByTheNewNamesAndThenByTheOldOnes) {
  for (const char* library : {PENSTOCK_FAKE_NVML, PENSTOCK_OLD_NVML, PENSTOCK_NEW_NVML}) {
    auto nvml = Nvml::open(library, "1");
    ASSERT_TRUE(nvml && *nvml != nullptr) << library;
    const Nvml::Figures figures = (*nvml)->read().at(0);
    EXPECT_EQ(figures.temperature_celsius, 88) << library;
    EXPECT_EQ(figures.throttled, std::vector{Nvml::Throttle::kThermal}) << library;
  }
}

TEST(Nvml, AsksByTheOldNameWhereTheNewOneDoesNotSay) {
  ::setenv("PENSTOCK_FAKE_NVML", "new_temperature", 1);
  auto nvml = Nvml::open(PENSTOCK_FAKE_NVML, "0");
  ASSERT_TRUE(nvml && *nvml != nullptr);
  EXPECT_EQ((*nvml)->read().at(0).temperature_celsius, 51 + 100);
  ::unsetenv("PENSTOCK_FAKE_NVML");
}

TEST(Nvml, WithoutEitherNameTheOtherFiguresAreThere) {
  auto nvml = Nvml::open(PENSTOCK_BARE_NVML, "0");
  ASSERT_TRUE(nvml && *nvml != nullptr);
  const Nvml::Figures figures = (*nvml)->read().at(0);
  EXPECT_EQ(figures.temperature_celsius, std::nullopt);
  EXPECT_EQ(figures.throttled, std::nullopt);
  EXPECT_EQ(figures.utilization, 0.37);
  EXPECT_EQ(figures.memory_bytes, 100.0 * (1ull << 30));
}

class GpuMonitorTest : public testing::Test {
 protected:
  GpuMonitorTest() { ::unsetenv("CUDA_VISIBLE_DEVICES"); }

  Logger logger_{{.level = LogLevel::kError, .program = "test"}};
  Metrics metrics_;
};

TEST_F(GpuMonitorTest, ShowsWhatTheDriverSays) {
  GpuMonitor monitor(metrics_, logger_, PENSTOCK_FAKE_NVML);
  std::string page;
  while (page.find("reason=\"thermal\"} 1") == std::string::npos) {
    std::this_thread::yield();
    page = metrics_.render();
  }
  EXPECT_THAT(page, HasSubstr("penstock_gpu_utilization{gpu=\"0\",name=\"Fake H200\"} 0.37"));
  EXPECT_THAT(page, HasSubstr("penstock_gpu_utilization{gpu=\"1\",name=\"Fake A100\"} Nan"));
  EXPECT_THAT(page, HasSubstr("penstock_gpu_temperature_celsius{gpu=\"1\",name=\"Fake A100\"} 88"));
  EXPECT_THAT(page, HasSubstr("penstock_gpu_throttled{gpu=\"0\",name=\"Fake H200\","
                              "reason=\"thermal\"} 0"));
  const GpuMonitor::Load load = monitor.load();
  EXPECT_DOUBLE_EQ(load.utilization.value_or(-1), 0.37) << "of those that say";
  EXPECT_DOUBLE_EQ(load.memory.value_or(-1), 0.5);
}

TEST_F(GpuMonitorTest, IsSilentWithoutADriver) {
  {
    GpuMonitor monitor(metrics_, logger_, "libpenstock-has-no-such.so");
    EXPECT_FALSE(monitor.load().utilization.has_value());
    EXPECT_FALSE(monitor.load().memory.has_value());
  }
  EXPECT_THAT(metrics_.render(), Not(HasSubstr("penstock_gpu")));
}

}  // namespace
}  // namespace penstock::sidecar
