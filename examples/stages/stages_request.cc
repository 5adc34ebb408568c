#include "examples/stages/stages_request.h"

#include <chrono>
#include <set>

#include <simdjson.h>

namespace penstock::examples {
namespace {

using runtime::ErrorKind;
using runtime::modelFailure;
using runtime::ModelResult;

constexpr double kMostMilliseconds = 3'600'000;

ModelResult<void> readMilliseconds(std::string_view key, simdjson::dom::element value,
                                   Duration& out) {
  double milliseconds = 0;
  // get_double() takes whole numbers too.
  if (value.get(milliseconds) != simdjson::SUCCESS || milliseconds < 0 ||
      milliseconds > kMostMilliseconds) {
    return modelFailure(ErrorKind::kBadInput,
                        std::string(key) + ": expected a number from 0 to 3600000");
  }
  out =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(milliseconds));
  return {};
}

ModelResult<void> readField(std::string_view key, simdjson::dom::element value,
                            StagesRequest& request) {
  if (key == "preprocess_ms") {
    return readMilliseconds(key, value, request.preprocess);
  }
  if (key == "predict_ms") {
    return readMilliseconds(key, value, request.predict);
  }
  if (key == "postprocess_ms") {
    return readMilliseconds(key, value, request.postprocess);
  }
  if (key == "busy") {
    if (value.get(request.busy) != simdjson::SUCCESS) {
      return modelFailure(ErrorKind::kBadInput, "busy: expected true or false");
    }
    return {};
  }
  if (key == "echo") {
    request.echo_json = simdjson::minify(value);
    return {};
  }
  return modelFailure(
      ErrorKind::kBadInput,
      "unknown key; expected preprocess_ms, predict_ms, postprocess_ms, busy or echo");
}

}  // namespace

ModelResult<StagesRequest> parseStagesRequest(std::string_view body) {
  // Keeps its buffers from request to request.
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object object;
  // Copies the body, since it wants room to read past the end.
  if (parser.parse(body.data(), body.size(), true).get(object) != simdjson::SUCCESS) {
    return modelFailure(ErrorKind::kBadInput, "the body: expected a JSON object");
  }
  StagesRequest request;
  std::set<std::string_view> seen;
  for (const auto& [key, value] : object) {
    if (!seen.insert(key).second) {
      return modelFailure(ErrorKind::kBadInput, "a key comes twice");
    }
    if (auto read = readField(key, value, request); !read.has_value()) {
      return std::unexpected(std::move(read.error()));
    }
  }
  return request;
}

}  // namespace penstock::examples
