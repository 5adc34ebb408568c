// The smallest useful model: predict alone. docs/model-authors.md explains it line by line.

#include <memory>
#include <string>
#include <utility>

#include "model_runtime/model.h"

namespace {

using namespace penstock::runtime;

class Uppercase final : public Model {
 public:
  Stages stages() const override { return {.preprocess = false, .postprocess = false}; }

  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state, const Call& /*call*/,
                                              std::size_t /*lane*/) override {
    std::string text = std::move(static_cast<InputState&>(*state).input.body);
    if (text.empty()) {
      return modelFailure(ErrorKind::kBadInput, "the body: expected some text");
    }
    for (char& c : text) {
      c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return std::make_unique<OutputState>(
        Output{.content_type = "text/plain; charset=utf-8", .body = std::move(text)});
  }
};

}  // namespace

PENSTOCK_MODEL(Uppercase);
