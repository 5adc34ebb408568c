// What cuda_device.cc makes of what CUDA says. Needs CUDA's headers, and no device.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_runtime/cuda/device.h"
#include "tests/model_runtime/cuda/fake_cuda_runtime.h"

namespace penstock::runtime::cuda {
namespace {

using testing::HasSubstr;

class CudaDeviceTest : public testing::Test {
 protected:
  CudaDeviceTest() { fake_cuda = {}; }

  static DeviceFault faultOfOpening() {
    const auto devices = openDevices();
    EXPECT_FALSE(devices.has_value());
    return devices.has_value() ? DeviceFault::kFailed : devices.error().fault;
  }
};

TEST_F(CudaDeviceTest, OpensAllThatThereAre) {
  fake_cuda.devices = 3;
  const auto devices = openDevices();
  ASSERT_TRUE(devices.has_value());
  EXPECT_EQ(devices->size(), 3u);
}

TEST_F(CudaDeviceTest, NoDeviceAndNoDriverAreAbsence) {
  fake_cuda.devices = 0;
  EXPECT_EQ(faultOfOpening(), DeviceFault::kAbsent);
  for (const cudaError_t code : {cudaErrorNoDevice, cudaErrorInsufficientDriver}) {
    fake_cuda.answer = code;
    EXPECT_EQ(faultOfOpening(), DeviceFault::kAbsent) << code;
  }
}

TEST_F(CudaDeviceTest, AnythingElseThatCudaSaysIsNoAbsence) {
  for (const cudaError_t code :
       {cudaErrorSystemNotReady, cudaErrorSystemDriverMismatch, cudaErrorUnknown}) {
    fake_cuda.answer = code;
    const auto devices = openDevices();
    ASSERT_FALSE(devices.has_value());
    EXPECT_NE(devices.error().fault, DeviceFault::kAbsent) << code;
    EXPECT_THAT(devices.error().message, HasSubstr("cudaGetDeviceCount: as the test said"));
    EXPECT_EQ(fake_cuda.last, cudaSuccess) << "it would be taken for a launch's";
  }
}

// An error that stays behind in CUDA would be taken for the next launch's.
TEST_F(CudaDeviceTest, EndsThatFailLeaveNothingForTheNextLaunch) {
  const auto devices = openDevices();
  ASSERT_TRUE(devices.has_value());
  Device& device = *devices->front();
  fake_cuda.answer = cudaErrorInvalidResourceHandle;
  device.release(Device::Memory::kDevice, nullptr);
  EXPECT_EQ(fake_cuda.last, cudaSuccess);
  device.release(Device::Memory::kPinned, nullptr);
  EXPECT_EQ(fake_cuda.last, cudaSuccess);
  device.endStream({});
  EXPECT_EQ(fake_cuda.last, cudaSuccess);
  device.endEvent({});
  EXPECT_EQ(fake_cuda.last, cudaSuccess);
}

}  // namespace
}  // namespace penstock::runtime::cuda
