#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model_runtime/model.h"

namespace penstock::examples {

// The numbers of a request {"inputs": [[64 numbers], …]} of 1 to 1024 rows, one row after the
// other. kBadInput, with what was expected, for anything else.
runtime::ModelResult<std::vector<float>> parseRows(std::string_view body);

// {"outputs":[[10 numbers],…]}, each number with as many digits as it takes to be read back as the
// same float.
std::string formatRows(std::span<const float> outputs);

}  // namespace penstock::examples
