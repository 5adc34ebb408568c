#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <variant>

#include "base/byte_size.h"
#include "base/clock.h"
#include "base/result.h"

namespace penstock::sidecar {

// What runs the model.

// A shared library, made in C++.
struct NativeModel {
  std::string library;  // as written; see findModelLibrary
  std::map<std::string, std::string> options;
};

// What a model's directory says about it.
struct ModelConfig {
  std::string directory;  // absolute
  std::string model_name;
  std::size_t predict_concurrency = 1;
  std::variant<NativeModel> kind;

  // penstock:
  std::size_t preprocess_threads = 32;
  std::size_t postprocess_threads = 32;
  std::size_t max_waiting = 1000;
  Duration gate_timeout = std::chrono::seconds(600);
  ByteSize max_request_body = 64_MiB;
  ByteSize max_buffered = ByteSize{std::uint64_t{1} << 30};  // bodies of all requests together
};

// Reads config.yaml in directory. It is a Truss config: keys that are Truss's own business are left
// alone, `runtime.predict_concurrency` is read, and one in the wrong place is an error; the section
// `penstock` is ours and strict. Errors are "file:line:column: what was expected", one a line.
Result<ModelConfig> loadModelConfig(const std::string& directory);

}  // namespace penstock::sidecar
