#pragma once

#include <cstdint>
#include <string_view>

#include "model_runtime/model.h"

namespace penstock::runtime {

// Where a request is, or was when it ended. kGate: ready, waiting for a lane.
enum class Stage : std::uint8_t { kPreprocess, kGate, kPredict, kPostprocess };
std::string_view toString(Stage stage);

// How a request ended.
struct Outcome {
  enum class Kind : std::uint8_t {
    kSucceeded,
    kModelError,  // the model refused it or failed: see error
    kCancelled,
    kDeadlineExceeded,
    kGateFull,     // never in predict: too many waited
    kGateTimeout,  // never in predict: waited too long
  };
  Kind kind = Kind::kSucceeded;
  Stage stage = Stage::kPostprocess;
  Output output;     // kSucceeded
  ModelError error;  // kModelError
};

// The outcome in one word, for the metric: "succeeded", "bad_input", "cancelled", …
std::string_view outcomeName(const Outcome& outcome);

}  // namespace penstock::runtime
