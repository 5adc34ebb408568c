#include "model_runtime/cuda/workspace.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

using Memory = Device::Memory;

class WorkspaceTest : public testing::Test {
 protected:
  std::unique_ptr<Workspace> make() { return std::move(*Workspace::make(device_, account_)); }

  // Enqueues a kernel that turns the input round.
  void launch(Workspace& workspace, std::string_view text) {
    ASSERT_TRUE(workspace.reserve({.input = text.size(), .output = text.size()}).has_value());
    std::memcpy(workspace.staging().data(), text.data(), text.size());
    ASSERT_TRUE(workspace.upload().has_value());
    ASSERT_TRUE(workspace.begin(*lane_).has_value());
    device_.kernel(lane_->stream(),
                   [from = workspace.input(), to = workspace.output(), size = text.size()] {
                     std::reverse_copy(from, from + size, to);
                   });
    ASSERT_TRUE(workspace.end(*lane_).has_value());
  }
  static std::string output(Workspace& workspace) {
    const auto bytes = workspace.awaitOutput();
    EXPECT_TRUE(bytes.has_value());
    return bytes.has_value()
               ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())
               : "";
  }

  FakeDevice device_;
  MemoryAccount account_;
  std::unique_ptr<Lane> lane_ = std::move(*Lane::make(device_, 0));
};

TEST_F(WorkspaceTest, BringsTheInputThereAndTheOutputBack) {
  auto workspace = make();
  launch(*workspace, "penstock");
  EXPECT_EQ(workspace->awaitKernels().value_or(Duration()), FakeDevice::kKernelTime);
  EXPECT_EQ(output(*workspace), "kcotsnep");
  EXPECT_EQ(lane_->busy(), FakeDevice::kKernelTime);
}

TEST_F(WorkspaceTest, CopiesRunBesideTheKernelsOfAnother) {
  auto first = make();
  auto second = make();
  device_.hold();
  launch(*first, "one");
  launch(*second, "another");
  device_.waitUntilHeld(1);  // one stream, one kernel at its head
  EXPECT_EQ(std::memcmp(second->input(), "another", 7), 0) << "uploaded while the first runs";
  device_.letThrough(1);
  EXPECT_TRUE(first->awaitKernels().has_value());
  EXPECT_EQ(output(*first), "eno") << "downloaded while the second runs";
  EXPECT_EQ(device_.kernelsRun(), 1u);
  device_.letAllThrough();
  EXPECT_EQ(second->awaitKernels().value_or(Duration()), FakeDevice::kKernelTime)
      << "its own kernels only";
  EXPECT_EQ(output(*second), "rehtona");
}

TEST_F(WorkspaceTest, KernelsWaitForTheirInput) {
  auto workspace = make();
  device_.holdCopies(true);
  launch(*workspace, "late");
  EXPECT_EQ(device_.kernelsRun(), 0u);
  device_.holdCopies(false);
  EXPECT_EQ(output(*workspace), "etal");
}

TEST_F(WorkspaceTest, AllocatesNothingForSizesSeenBefore) {
  auto workspace = make();
  launch(*workspace, std::string(100'000, 'x'));
  output(*workspace);
  const std::size_t before = device_.allocations();
  const std::size_t handles = device_.liveHandles();
  for (std::size_t size = 1; size < 100'000; size += 997) {
    launch(*workspace, std::string(size, 'y'));
    EXPECT_TRUE(workspace->awaitKernels().has_value());
    output(*workspace);
  }
  EXPECT_EQ(device_.allocations(), before);
  EXPECT_EQ(device_.liveHandles(), handles);
}

// The same workspace's next request must not write over what a kernel still reads.
TEST_F(WorkspaceTest, IsSettledOnlyWhenNothingEnqueuedUsesIt) {
  auto workspace = make();
  device_.hold();
  launch(*workspace, "left behind");
  std::thread settling([&] { workspace->settle(); });
  while (device_.threadsAsleep() == 0) {
    std::this_thread::yield();
  }
  EXPECT_EQ(device_.kernelsRun(), 0u);
  device_.letAllThrough();
  settling.join();
  EXPECT_EQ(device_.kernelsRun(), 1u);
}

TEST_F(WorkspaceTest, IsUploadedBeforeItHasALane) {
  auto running = make();
  auto staged = make();
  device_.hold();
  launch(*running, "one");
  ASSERT_TRUE(staged->reserve({.input = 4, .output = 4}).has_value());
  std::memcpy(staged->staging().data(), "next", 4);
  ASSERT_TRUE(staged->upload().has_value());
  EXPECT_EQ(std::memcmp(staged->input(), "next", 4), 0);
  staged->settle();  // waits for nothing of the one that runs
  EXPECT_EQ(device_.kernelsRun(), 0u);
  device_.letAllThrough();
}

TEST_F(WorkspaceTest, WhatIsStagedAndNeverLaunchedIsSettledWhenTheUploadHasEnded) {
  auto workspace = make();
  device_.holdCopies(true);
  ASSERT_TRUE(workspace->reserve({.input = 4, .output = 4}) && workspace->upload());
  std::atomic<bool> settled = false;
  std::thread settling([&] {
    workspace->settle();
    settled = true;
  });
  while (device_.threadsAsleep() == 0 && !settled) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(settled) << "with a copy on its way";
  device_.holdCopies(false);
  settling.join();
  launch(*workspace, "again");
  EXPECT_EQ(output(*workspace), "niaga");
}

// A request that was cancelled gives its workspace back while the next one's kernels stand behind.
TEST_F(WorkspaceTest, SettlesWithoutWaitingForTheRequestBehind) {
  auto first = make();
  auto second = make();
  device_.hold();
  launch(*first, "cancelled");
  launch(*second, "behind");
  device_.letThrough(1);
  auto settled = std::async(std::launch::async, [&] { first->settle(); });
  EXPECT_EQ(settled.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(device_.kernelsRun(), 1u);
  device_.letAllThrough();
  settled.wait();
}

TEST_F(WorkspaceTest, OutOfMemoryBeginsNothingAndTheNextRequestRuns) {
  FakeDevice small("small", 1 << 20);
  MemoryAccount account;
  auto lane = std::move(*Lane::make(small, 0));
  auto workspace = std::move(*Workspace::make(small, account));
  const auto refused = workspace->reserve({.input = 100, .output = 2 << 20});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().fault, DeviceFault::kOutOfMemory);
  EXPECT_EQ(small.kernelsRun(), 0u);
  EXPECT_EQ(account.bytes(Memory::kDevice), small.liveBytes(Memory::kDevice));
  EXPECT_TRUE(workspace->reserve({.input = 100, .output = 100, .scratch = 100}).has_value());
  EXPECT_TRUE(workspace->upload().has_value());
  EXPECT_TRUE(workspace->begin(*lane).has_value());
  EXPECT_TRUE(workspace->end(*lane).has_value());
  EXPECT_TRUE(workspace->awaitOutput().has_value());
}

TEST_F(WorkspaceTest, ALostDeviceIsToldByWhoeverWaits) {
  auto workspace = make();
  device_.hold();
  launch(*workspace, "never to end");
  std::thread waiting([&] {
    const auto ended = workspace->awaitKernels();
    ASSERT_FALSE(ended.has_value());
    EXPECT_EQ(ended.error().fault, DeviceFault::kLost);
  });
  while (device_.threadsAsleep() == 0) {
    std::this_thread::yield();
  }
  device_.fail(DeviceFault::kLost);
  waiting.join();
  EXPECT_FALSE(workspace->reserve({.input = 1 << 20, .output = 1}).has_value());
}

TEST_F(WorkspaceTest, LeavesNothingBehind) {
  {
    auto workspace = make();
    launch(*workspace, "text");
  }
  lane_.reset();
  EXPECT_EQ(device_.liveHandles(), 0u);
  EXPECT_EQ(device_.liveBytes(Memory::kDevice), 0u);
  EXPECT_EQ(device_.liveBytes(Memory::kPinned), 0u);
  EXPECT_EQ(account_.bytes(Memory::kDevice), 0u);
}

TEST_F(WorkspaceTest, LeavesNothingBehindWhenItCannotBeMade) {
  const std::size_t before = device_.liveHandles();
  device_.failNext(DeviceFault::kFailed);
  EXPECT_FALSE(Workspace::make(device_, account_).has_value());
  EXPECT_EQ(device_.liveHandles(), before);
}

}  // namespace
}  // namespace penstock::runtime::cuda
