#include "tests/model_runtime/cuda/fake_cuda_runtime.h"

#include <utility>

namespace {

using penstock::runtime::cuda::fake_cuda;

cudaError_t said() {
  if (fake_cuda.answer != cudaSuccess) {
    fake_cuda.last = fake_cuda.answer;
  }
  return fake_cuda.answer;
}

}  // namespace

cudaError_t cudaGetLastError() {
  return std::exchange(fake_cuda.last, cudaSuccess);
}
const char* cudaGetErrorName(cudaError_t /*code*/) {
  return "cudaErrorOfTheTest";
}
const char* cudaGetErrorString(cudaError_t /*code*/) {
  return "as the test said";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = fake_cuda.devices;
  return said();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*device*/) {
  *properties = {};
  return said();
}
cudaError_t cudaSetDevice(int /*device*/) {
  return said();
}
cudaError_t cudaMemGetInfo(std::size_t* /*free*/, std::size_t* /*total*/) {
  return said();
}

cudaError_t cudaMalloc(void** /*memory*/, std::size_t /*bytes*/) {
  return said();
}
cudaError_t cudaHostAlloc(void** /*memory*/, std::size_t /*bytes*/, unsigned /*flags*/) {
  return said();
}
cudaError_t cudaFree(void* /*memory*/) {
  return said();
}
cudaError_t cudaFreeHost(void* /*memory*/) {
  return said();
}
cudaError_t cudaMemcpyAsync(void* /*to*/, const void* /*from*/, std::size_t /*bytes*/,
                            cudaMemcpyKind /*kind*/, cudaStream_t /*stream*/) {
  return said();
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* /*least*/, int* /*greatest*/) {
  return said();
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* /*stream*/, unsigned /*flags*/,
                                         int /*priority*/) {
  return said();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t /*stream*/, cudaEvent_t /*event*/,
                                unsigned /*flags*/) {
  return said();
}
cudaError_t cudaStreamDestroy(cudaStream_t /*stream*/) {
  return said();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* /*event*/, unsigned /*flags*/) {
  return said();
}
cudaError_t cudaEventRecord(cudaEvent_t /*event*/, cudaStream_t /*stream*/) {
  return said();
}
cudaError_t cudaEventSynchronize(cudaEvent_t /*event*/) {
  return said();
}
cudaError_t cudaEventElapsedTime(float* /*milliseconds*/, cudaEvent_t /*first*/,
                                 cudaEvent_t /*second*/) {
  return said();
}
cudaError_t cudaEventDestroy(cudaEvent_t /*event*/) {
  return said();
}
