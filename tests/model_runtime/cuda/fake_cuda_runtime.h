#pragma once

#include <cuda_runtime_api.h>

namespace penstock::runtime::cuda {

// The functions of the CUDA runtime that cuda_device.cc calls, without a device: linked with in
// place of the runtime. They do nothing but remember, as CUDA does, what they last said. One
// thread.
struct FakeCudaRuntime {
  int devices = 1;
  cudaError_t answer = cudaSuccess;  // of every call
  cudaError_t last = cudaSuccess;    // what cudaGetLastError() is about to say
};
inline FakeCudaRuntime fake_cuda;

}  // namespace penstock::runtime::cuda
