#pragma once

#include <string>
#include <string_view>

#include "model_runtime/model.h"

namespace penstock::examples {

// What a request to the stages model asks for.
struct StagesRequest {
  // How long each stage takes: 0 … 1 h.
  Duration preprocess{};
  Duration predict{};
  Duration postprocess{};
  bool busy = false;      // spin instead of sleeping
  std::string echo_json;  // the value of "echo" as JSON text; empty if there was none
};

// body: a JSON object with any of preprocess_ms, predict_ms, postprocess_ms (numbers), busy
// (boolean) and echo (anything). Another key, a key twice, or another type is kBadInput.
runtime::ModelResult<StagesRequest> parseStagesRequest(std::string_view body);

}  // namespace penstock::examples
