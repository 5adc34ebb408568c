#include "examples/denoise/denoise_request.h"

#include <algorithm>
#include <utility>

#include <simdjson.h>

#include "examples/denoise/base64.h"

namespace penstock::examples {
namespace {

using runtime::ErrorKind;
using runtime::modelFailure;

// Parameters, as in "application/json; charset=utf-8", do not matter; nor does case.
bool isJson(std::string_view content_type) {
  constexpr std::string_view kJson = "application/json";
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ')) {
    content_type.remove_suffix(1);
  }
  return std::ranges::equal(content_type, kJson, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

}  // namespace

runtime::ModelResult<DenoiseRequest> parseDenoiseRequest(runtime::Input input) {
  if (!isJson(input.content_type)) {
    return DenoiseRequest{.file = std::move(input.body), .json = false};
  }
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  std::string_view text;
  if (parser.parse(input.body).get(object) != simdjson::SUCCESS || object.size() != 1 ||
      object["image"].get(text) != simdjson::SUCCESS) {
    return modelFailure(ErrorKind::kBadInput,
                        "the body: expected {\"image\": \"…\"} with a file in base64");
  }
  auto file = decodeBase64(text);
  if (!file.has_value()) {
    return modelFailure(ErrorKind::kBadInput, "image: expected base64 with padding");
  }
  return DenoiseRequest{.file = std::move(*file), .json = true};
}

runtime::Output denoiseOutput(std::string png, bool json) {
  if (!json) {
    return {.content_type = "image/png", .body = std::move(png)};
  }
  return {.content_type = "application/json",
          .body = "{\"image\":\"" + encodeBase64(png) + "\",\"content_type\":\"image/png\"}"};
}

}  // namespace penstock::examples
