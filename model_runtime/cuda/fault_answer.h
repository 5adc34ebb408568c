#pragma once

#include <functional>
#include <string_view>
#include <utility>

#include "model_runtime/cuda/device.h"
#include "model_runtime/model.h"

namespace penstock::runtime::cuda {

// Turns what a device says into a request's answer: out of memory into "not executed, not now", a
// lost device into the end of the process, anything else into the model's failure. Thread-safe.
class FaultAnswer {
 public:
  // end_process: LoadContext::end_process.
  explicit FaultAnswer(std::function<void(std::string_view)> end_process)
      : end_process_(std::move(end_process)) {}

  // An error that a request met. Out of memory comes from Workspace::reserve(), before anything of
  // the request has begun.
  ModelError operator()(const DeviceError& error) const;
  // The same for what a call gave: nothing, if that was no error.
  template <typename T>
  ModelResult<void> answer(const DeviceResult<T>& result) const {
    return result.has_value() ? ModelResult<void>() : std::unexpected((*this)(result.error()));
  }

 private:
  std::function<void(std::string_view)> end_process_;
};

}  // namespace penstock::runtime::cuda
