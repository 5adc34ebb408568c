#pragma once

#include <string>
#include <string_view>

#include "model_runtime/model.h"

namespace penstock::examples {

// The image file that a request carries, and how it carries it.
struct DenoiseRequest {
  std::string file;
  bool json = false;
};

// With content type application/json the body is {"image": "<base64>"}; with any other it is the
// file. kBadInput for anything else in JSON.
runtime::ModelResult<DenoiseRequest> parseDenoiseRequest(runtime::Input input);

// The answer in the manner of the request: the PNG as it is, or
// {"image":"<base64>","content_type":"image/png"}.
runtime::Output denoiseOutput(std::string png, bool json);

}  // namespace penstock::examples
