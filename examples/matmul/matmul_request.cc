#include "examples/matmul/matmul_request.h"

#include <array>
#include <charconv>

#include <simdjson.h>

#include "examples/matmul/perceptron.h"

namespace penstock::examples {
namespace {

using runtime::ErrorKind;
using runtime::modelFailure;
using runtime::ModelResult;

constexpr std::size_t kMostRows = 1024;
// Far enough from where floats end that no sum gets there.
constexpr double kLargest = 1e6;

auto badInput(std::string message) {
  return modelFailure(ErrorKind::kBadInput, std::move(message));
}

ModelResult<void> readRow(simdjson::dom::element element, std::size_t number,
                          std::vector<float>& rows) {
  const std::string where = "inputs: row " + std::to_string(number) + ": ";
  simdjson::dom::array values;
  if (element.get(values) != simdjson::SUCCESS || values.size() != kInputs) {
    return badInput(where + "expected a list of " + std::to_string(kInputs) + " numbers");
  }
  for (const simdjson::dom::element value : values) {
    double read = 0;
    if (value.get(read) != simdjson::SUCCESS || read < -kLargest || read > kLargest) {
      return badInput(where + "expected numbers from -1000000 to 1000000");
    }
    rows.push_back(static_cast<float>(read));
  }
  return {};
}

}  // namespace

ModelResult<std::vector<float>> parseRows(std::string_view body) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  simdjson::dom::array list;
  // Copies the body, since it wants room to read past the end.
  if (parser.parse(body.data(), body.size(), true).get(object) != simdjson::SUCCESS ||
      object.size() != 1 || object["inputs"].get(list) != simdjson::SUCCESS) {
    return badInput("the body: expected {\"inputs\": [[64 numbers], …]}");
  }
  if (list.size() == 0 || list.size() > kMostRows) {
    return badInput("inputs: expected 1 to " + std::to_string(kMostRows) + " rows");
  }
  std::vector<float> rows;
  rows.reserve(list.size() * kInputs);
  std::size_t number = 0;
  for (const simdjson::dom::element row : list) {
    if (auto read = readRow(row, number++, rows); !read.has_value()) {
      return std::unexpected(std::move(read.error()));
    }
  }
  return rows;
}

std::string formatRows(std::span<const float> outputs) {
  std::string text = "{\"outputs\":";
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (i % kOutputs == 0) {
      text += i == 0 ? "[[" : "],[";
    } else {
      text += ',';
    }
    std::array<char, 32> digits{};
    text.append(digits.data(),
                std::to_chars(digits.data(), digits.data() + digits.size(), outputs[i]).ptr);
  }
  return text + "]]}";
}

}  // namespace penstock::examples
