#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "model_runtime/model.h"

namespace penstock::runtime {

// Where the library that a model's config.yaml names is. A name with a slash is a path, relative to
// the model's directory. A bare file name is looked for in the model's directory, then beside this
// program, then in ../lib/penstock and ../lib beside it. An error lists where it was looked for.
Result<std::string> findModelLibrary(const std::string& name, const std::string& model_directory);

// Loads the shared library and makes its model. The library's code stays in memory for the life of
// the process, so the model may be destroyed whenever.
Result<std::unique_ptr<Model>> loadModelLibrary(const std::string& path);

}  // namespace penstock::runtime
