#include "model_runtime/cuda/buffer.h"

#include <gtest/gtest.h>

#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

using Memory = Device::Memory;

constexpr std::size_t kMiB = std::size_t{1} << 20;

class BufferTest : public testing::Test {
 protected:
  FakeDevice device_{"fake", 8 * kMiB};
  MemoryAccount account_;
  Buffer buffer_{device_, account_, Memory::kDevice};
};

TEST_F(BufferTest, GrowsAndIsUsedAgain) {
  const auto first = buffer_.reserve(kMiB);
  ASSERT_TRUE(first.has_value());
  EXPECT_GE(buffer_.capacity(), kMiB);
  EXPECT_EQ(buffer_.reserve(10).value_or(nullptr), *first);
  EXPECT_EQ(buffer_.reserve(kMiB).value_or(nullptr), *first);
  EXPECT_EQ(device_.allocations(), 1u);
  ASSERT_TRUE(buffer_.reserve(2 * kMiB).has_value());
  EXPECT_EQ(device_.allocations(), 2u);
  EXPECT_EQ(device_.liveBytes(Memory::kDevice), buffer_.capacity()) << "the small one is gone";
}

TEST_F(BufferTest, BooksExactlyWhatIsAllocated) {
  Buffer pinned(device_, account_, Memory::kPinned);
  ASSERT_TRUE(pinned.reserve(100).has_value());
  ASSERT_TRUE(buffer_.reserve(3 * kMiB).has_value());
  EXPECT_EQ(account_.bytes(Memory::kDevice), device_.liveBytes(Memory::kDevice));
  EXPECT_EQ(account_.bytes(Memory::kPinned), device_.liveBytes(Memory::kPinned));
  EXPECT_EQ(account_.allocations(), 2u);
  buffer_.clear();
  pinned.clear();
  EXPECT_EQ(account_.bytes(Memory::kDevice), 0u);
  EXPECT_EQ(account_.bytes(Memory::kPinned), 0u);
}

TEST_F(BufferTest, IsEmptyAndUsableAfterTheDeviceHadNoMemory) {
  const auto too_much = buffer_.reserve(9 * kMiB);
  ASSERT_FALSE(too_much.has_value());
  EXPECT_EQ(too_much.error().fault, DeviceFault::kOutOfMemory);
  EXPECT_EQ(buffer_.data(), nullptr);
  EXPECT_EQ(account_.bytes(Memory::kDevice), 0u);
  EXPECT_EQ(account_.refusals(), 1u);
  EXPECT_TRUE(buffer_.reserve(kMiB).has_value());
}

TEST_F(BufferTest, StaysWithinItsLimit) {
  MemoryAccount limited(4 * kMiB);
  Buffer first(device_, limited, Memory::kDevice);
  Buffer second(device_, limited, Memory::kDevice);
  Buffer pinned(device_, limited, Memory::kPinned);
  ASSERT_TRUE(first.reserve(3 * kMiB).has_value());
  ASSERT_TRUE(second.reserve(kMiB).has_value()) << "exactly the limit";
  second.clear();
  EXPECT_EQ(second.reserve(kMiB + 1).error().fault, DeviceFault::kOutOfMemory);
  EXPECT_EQ(device_.allocations(), 2u) << "the device is not even asked";
  EXPECT_TRUE(pinned.reserve(6 * kMiB).has_value()) << "the limit is the device's";
}

TEST_F(BufferTest, SaysWhereInTheCodeItWasAsked) {
  const auto error = buffer_.reserve(9 * kMiB).error();
  EXPECT_EQ(error.text(), "buffer_test.cc:" + std::to_string(__LINE__ - 1) + ": no memory");
}

}  // namespace
}  // namespace penstock::runtime::cuda
