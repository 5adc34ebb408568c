#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "model_runtime/model.h"

namespace penstock::runtime {

// What a test's request carries: the body it came with.
struct TextState final : State {
  explicit TextState(std::string the_text) : text(std::move(the_text)) {}
  std::string text;
};

// A model whose stages do what the test says, and then hand on the body of the request.
class ScriptedModel final : public Model {
 public:
  using Script = std::function<void(const std::string& text, const Call&)>;

  Stages has;
  Script in_preprocess = [](const std::string&, const Call&) {};
  std::function<void(const std::string&, const Call&, std::size_t)> in_predict =
      [](const std::string&, const Call&, std::size_t) {};
  Script in_postprocess = [](const std::string&, const Call&) {};

  Stages stages() const override { return has; }

  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call& call) override {
    in_preprocess(input.body, call);
    if (input.body.starts_with("bad")) {
      return modelFailure(ErrorKind::kBadInput, "bad it is");
    }
    return std::make_unique<TextState>(std::move(input.body));
  }

  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state, const Call& call,
                                              std::size_t lane) override {
    if (auto* whole = dynamic_cast<InputState*>(state.get())) {
      state = std::make_unique<TextState>(std::move(whole->input.body));
    }
    const std::string& text = static_cast<TextState&>(*state).text;
    in_predict(text, call, lane);
    if (!has.postprocess) {
      return std::make_unique<OutputState>(Output{.content_type = "text/plain", .body = text});
    }
    return state;
  }

  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call& call) override {
    if (!has.postprocess) {
      return Model::postprocess(std::move(state), call);
    }
    std::string& text = static_cast<TextState&>(*state).text;
    in_postprocess(text, call);
    return Output{.content_type = "text/plain", .body = std::move(text)};
  }
};

}  // namespace penstock::runtime
