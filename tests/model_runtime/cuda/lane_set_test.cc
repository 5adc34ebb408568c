#include "model_runtime/cuda/lane_set.h"

#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "model_runtime/cuda/fault_answer.h"
#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

using Memory = Device::Memory;

std::vector<std::unique_ptr<Device>> fakes(std::size_t count) {
  std::vector<std::unique_ptr<Device>> devices;
  for (std::size_t i = 0; i < count; ++i) {
    devices.push_back(std::make_unique<FakeDevice>("fake " + std::to_string(i)));
  }
  return devices;
}

TEST(LaneSet, SpreadsLanesOverTheDevicesInTurn) {
  auto set = std::move(*LaneSet::make(fakes(3), {.lanes = 5}));
  ASSERT_EQ(set->devices(), 3u);
  std::vector<std::size_t> on;
  std::set<void*> streams;
  for (std::size_t i = 0; i < set->lanes(); ++i) {
    on.push_back(set->lane(i).deviceIndex());
    EXPECT_EQ(&set->lane(i).device(), &set->device(on.back()));
    streams.emplace(&set->lane(i));
  }
  EXPECT_EQ(on, (std::vector<std::size_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(streams.size(), 5u);
}

TEST(LaneSet, GivesItsLanesThePriorityThatIsAskedFor) {
  const auto priorityOf = [](const LaneSet::Options& options) {
    auto set = std::move(*LaneSet::make(fakes(1), options));
    const Lane& lane = set->lane(0);
    return static_cast<FakeDevice&>(lane.device()).priority(lane.stream());
  };
  EXPECT_EQ(priorityOf({}), Device::Priority::kHigh);
  EXPECT_EQ(priorityOf({.priority = Device::Priority::kNormal}), Device::Priority::kNormal);
}

TEST(LaneSet, LetsGoOfDevicesThatGetNoLane) {
  auto set = std::move(*LaneSet::make(fakes(4), {.lanes = 2}));
  EXPECT_EQ(set->devices(), 2u);
}

TEST(LaneSet, SaysWhyItCannotBeMade) {
  auto devices = fakes(1);
  static_cast<FakeDevice&>(*devices[0]).fail(DeviceFault::kFailed);
  EXPECT_FALSE(LaneSet::make(std::move(devices), {}).has_value());
}

// Requests on all lanes at once, each with data of its own, which a kernel turns into more data of
// its own; as many threads as lanes take whichever workspace they get.
TEST(LaneSet, RequestsNeverMeetEachOthersData) {
  constexpr std::size_t kLanes = 4;
  auto set = std::move(*LaneSet::make(fakes(2), {.lanes = kLanes, .run_ahead = 1}));
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < kLanes; ++number) {
    threads.emplace_back([&set, number] {
      Lane& lane = set->lane(number);
      auto& device = static_cast<FakeDevice&>(lane.device());
      for (std::size_t i = 0; i < 300; ++i) {
        auto workspace = set->takeWorkspace(number);
        const std::size_t size = 1 + (i * 7919 + number * 13) % 5000;
        const auto mark = static_cast<unsigned char>(i * kLanes + number);
        ASSERT_TRUE(workspace->reserve({.input = size, .output = size, .scratch = size}));
        std::memset(workspace->staging().data(), mark, size);
        ASSERT_TRUE(workspace->upload() && workspace->begin(lane));
        device.kernel(lane.stream(), [from = workspace->input(), by = workspace->scratch(),
                                      to = workspace->output(), size] {
          std::memcpy(by, from, size);
          for (std::size_t k = 0; k < size; ++k) {
            to[k] = ~by[k];
          }
        });
        ASSERT_TRUE(workspace->end(lane) && workspace->awaitKernels());
        const auto output = workspace->awaitOutput();
        ASSERT_TRUE(output.has_value());
        const std::vector<std::byte> expected(size, std::byte(~mark & 0xff));
        ASSERT_EQ(std::memcmp(output->data(), expected.data(), size), 0) << "somebody else's data";
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < set->devices(); ++i) {
    EXPECT_EQ(set->workspaces(i).taken(), 0u);
    EXPECT_LE(set->account(i).allocations(), 2u * 2 * 5 * 8) << "each buffer grew a few times";
  }
}

TEST(LaneSet, WhoTakesOneTooManyWaitsForOneToComeBack) {
  auto set = std::move(*LaneSet::make(fakes(1), {.lanes = 1, .run_ahead = 0}));
  auto running = set->takeWorkspace(0);
  auto staged = set->takeStagingWorkspace();
  auto collected = set->takeWorkspace(0);
  EXPECT_EQ(set->workspaces(0).taken(), 3u);
  std::atomic<bool> got = false;
  std::thread fourth([&] {
    auto workspace = set->takeWorkspace(0);
    got = true;
  });
  EXPECT_FALSE(got);
  collected.reset();
  fourth.join();
  EXPECT_TRUE(got);
}

TEST(LaneSet, GivesNoStagingWorkspaceIfTheDeviceIsNotKnownYet) {
  EXPECT_EQ(std::move(*LaneSet::make(fakes(2), {.lanes = 2}))->takeStagingWorkspace(), nullptr);
  const auto set = std::move(*LaneSet::make(fakes(2), {.lanes = 1}));
  EXPECT_NE(set->takeStagingWorkspace(), nullptr);
}

TEST(LaneSet, KeepsACopyOnEachDeviceForAsLongAsItLives) {
  auto devices = fakes(3);
  auto& first = static_cast<FakeDevice&>(*devices[0]);
  auto set = std::move(*LaneSet::make(std::move(devices), {.lanes = 2}));
  std::vector<std::byte> weights(100'000, std::byte{7});
  const std::size_t handles = first.liveHandles();
  const auto kept = set->keep(weights);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(first.liveHandles(), handles);
  ASSERT_EQ(kept->size(), 2u);
  EXPECT_NE((*kept)[0], (*kept)[1]);
  weights.assign(weights.size(), std::byte{0});
  for (std::size_t i = 0; i < 2; ++i) {
    const std::vector<std::byte> copy((*kept)[i], (*kept)[i] + weights.size());
    EXPECT_EQ(copy, std::vector<std::byte>(weights.size(), std::byte{7}));
    EXPECT_GE(set->account(i).bytes(Memory::kDevice), weights.size());
    EXPECT_EQ(set->account(i).bytes(Memory::kPinned), 0u) << "only on its way";
  }
  EXPECT_EQ(first.liveBytes(Memory::kDevice), set->account(0).bytes(Memory::kDevice));
}

TEST(LaneSet, KeepsNothingBeyondItsLimit) {
  auto set = std::move(*LaneSet::make(fakes(1), {.lanes = 1, .device_limit_bytes = 100'000}));
  const std::vector<std::byte> weights(200'000);
  const auto kept = set->keep(weights);
  ASSERT_FALSE(kept.has_value());
  EXPECT_EQ(kept.error().fault, DeviceFault::kOutOfMemory);
  EXPECT_EQ(set->account(0).bytes(Memory::kDevice), 0u);
}

// As a request that was cancelled after its launch does.
TEST(LaneSet, AWorkspaceComesBackOnlyWhenNothingEnqueuedUsesIt) {
  auto set = std::move(*LaneSet::make(fakes(1), {.lanes = 1}));
  Lane& lane = set->lane(0);
  auto& device = static_cast<FakeDevice&>(lane.device());
  auto workspace = set->takeWorkspace(0);
  device.hold();
  ASSERT_TRUE(workspace->reserve({.input = 1, .output = 1}) && workspace->upload() &&
              workspace->begin(lane));
  device.kernel(lane.stream(), [] {});
  std::thread leaving([&] { workspace.reset(); });
  while (device.threadsAsleep() == 0 && set->workspaces(0).taken() == 1) {
    std::this_thread::yield();
  }
  EXPECT_EQ(set->workspaces(0).taken(), 1u) << "came back with a kernel running on it";
  device.letAllThrough();
  leaving.join();
  EXPECT_EQ(set->workspaces(0).taken(), 0u);
}

TEST(FaultAnswer, SaysThatNothingWasExecutedForWantOfMemory) {
  const FaultAnswer answer([](std::string_view) { FAIL() << "the model is still usable"; });
  const ModelError error =
      answer({.fault = DeviceFault::kOutOfMemory, .message = "cudaMalloc", .where = {}});
  EXPECT_EQ(error.kind, ErrorKind::kOutOfDeviceMemory);
}

TEST(FaultAnswer, EndsTheProcessWhenTheDeviceIsLost) {
  std::vector<std::string> ended;
  const FaultAnswer answer([&](std::string_view why) { ended.emplace_back(why); });
  answer({.fault = DeviceFault::kLost,
          .message = "cudaEventSynchronize: an illegal memory access was encountered",
          .where = std::source_location::current()});
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_NE(ended[0].find("lane_set_test.cc:"), std::string::npos);
  EXPECT_NE(ended[0].find("illegal memory access"), std::string::npos);
}

TEST(FaultAnswer, AnythingElseIsTheModelsFailure) {
  const FaultAnswer answer([](std::string_view) { FAIL(); });
  EXPECT_EQ(answer({.fault = DeviceFault::kFailed, .message = "m", .where = {}}).kind,
            ErrorKind::kInternal);
}

}  // namespace
}  // namespace penstock::runtime::cuda
