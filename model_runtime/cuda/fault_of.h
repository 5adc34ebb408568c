#pragma once

#include <cuda_runtime_api.h>

#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

// What an error of the CUDA runtime's means for who goes on. Which ones leave the context unusable
// is what the runtime's documentation says of each ("the process must be terminated and
// relaunched"); one that nobody knows counts as such.
inline DeviceFault faultOf(cudaError_t code) {
  // Named only by newer versions of CUDA.
  constexpr int kErrorContained = 226;
  switch (static_cast<int>(code)) {
    case cudaErrorMemoryAllocation:
      return DeviceFault::kOutOfMemory;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:  // and where there is no driver at all
      return DeviceFault::kAbsent;
    case kErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDevicesUnavailable:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorUnknown:
      return DeviceFault::kLost;
    default:
      return DeviceFault::kFailed;
  }
}

}  // namespace penstock::runtime::cuda
