#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "model_runtime/cuda/device.h"

namespace penstock {

// Ends the process with what went wrong. Other threads may be inside CUDA, so no destructor runs.
[[noreturn]] inline void giveUp(const std::string& why) {
  std::fprintf(stderr, "gpu_check: %s\n", why.c_str());
  std::_Exit(4);
}

// What a device gave; what it said instead ends the process.
template <typename T>
T must(runtime::cuda::DeviceResult<T> result) {
  if (!result.has_value()) {
    giveUp(result.error().text());
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

}  // namespace penstock
