#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

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

// A Truss: a class in Python, run in a worker process.
struct PythonModel {
  std::string config_json;  // all of config.yaml
  std::string interpreter;  // a path, or a name to be looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;
  Duration streaming_read_timeout = std::chrono::seconds(60);  // between two chunks of a response
  Duration hang_timeout = std::chrono::seconds(30);  // after a deadline; then the worker is ended
  ByteSize stream_buffer = 1_MiB;                    // of a response that is not read
};

// What a model's directory says about it.
struct ModelConfig {
  std::string directory;  // absolute
  std::string model_name;
  std::size_t predict_concurrency = 1;
  std::variant<NativeModel, PythonModel> kind;

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
// `penstock` is ours and strict. Without a `library` in it the model is the class in
// model/model.py. Errors are "file:line:column: what was expected", one a line.
Result<ModelConfig> loadModelConfig(const std::string& directory);

}  // namespace penstock::sidecar
