// Which of CUDA's errors end the process. Needs CUDA's headers, and no device.

#include "model_runtime/cuda/fault_of.h"

#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace penstock::runtime::cuda {
namespace {

// Of a line of a comment, without what makes it one.
void addWords(std::string& text, const std::string& line) {
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    if (word != "*") {
      text += word + ' ';
    }
  }
}

// CUDA's own header says of each error, in the comment above it, whether anything works after it.
// This reads it there, so that the next version's errors are not forgotten.
TEST(FaultOf, WhatCudaSaysEndsTheProcessIsALostDevice) {
  std::ifstream header(PENSTOCK_CUDA_ERRORS);
  ASSERT_TRUE(header) << PENSTOCK_CUDA_ERRORS;
  std::string line;
  while (std::getline(header, line) && !line.contains("cudaError")) {
  }
  std::size_t sticky = 0;
  std::string comment;
  while (std::getline(header, line) && !line.contains("};")) {
    const std::size_t name = line.find("cudaError");
    const std::size_t equals = line.find('=');
    if (name == std::string::npos || equals == std::string::npos || line.contains('*')) {
      addWords(comment, line);
      continue;
    }
    if (comment.contains("terminated and relaunched")) {
      const std::size_t digits = line.find_first_of("0123456789", equals);
      int code = 0;
      std::from_chars(line.data() + digits, line.data() + line.size(), code);
      EXPECT_EQ(faultOf(static_cast<cudaError_t>(code)), DeviceFault::kLost)
          << line.substr(name, equals - name);
      ++sticky;
    }
    comment.clear();
  }
  EXPECT_GE(sticky, 10u) << "the header is not read as it is written";
}

TEST(FaultOf, WhatNobodyKnowsIsALostDevice) {
  EXPECT_EQ(faultOf(cudaErrorUnknown), DeviceFault::kLost);
  EXPECT_EQ(faultOf(cudaErrorECCUncorrectable), DeviceFault::kLost);
}

TEST(FaultOf, ADriverThatDoesNotBeginToWorkIsNotAnAbsentDevice) {
  for (const cudaError_t code :
       {cudaErrorInitializationError, cudaErrorStubLibrary, cudaErrorSystemNotReady,
        cudaErrorSystemDriverMismatch, cudaErrorCompatNotSupportedOnDevice, cudaErrorUnknown}) {
    EXPECT_NE(faultOf(code), DeviceFault::kAbsent) << code;
  }
}

TEST(FaultOf, TheRestLeavesTheDeviceAsItWas) {
  EXPECT_EQ(faultOf(cudaErrorMemoryAllocation), DeviceFault::kOutOfMemory);
  EXPECT_EQ(faultOf(cudaErrorNoDevice), DeviceFault::kAbsent);
  EXPECT_EQ(faultOf(cudaErrorInsufficientDriver), DeviceFault::kAbsent);
  for (const cudaError_t code : {cudaErrorInvalidValue, cudaErrorInvalidConfiguration,
                                 cudaErrorLaunchOutOfResources, cudaErrorNotReady}) {
    EXPECT_EQ(faultOf(code), DeviceFault::kFailed) << code;
  }
}

}  // namespace
}  // namespace penstock::runtime::cuda
