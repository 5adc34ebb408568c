#include "model_runtime/model.h"

namespace {

using namespace penstock::runtime;

class Good final : public Model {
 public:
  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state, const Call& /*call*/,
                                              std::size_t /*lane*/) override {
    auto& input = static_cast<InputState&>(*state).input;
    return std::make_unique<OutputState>(Output{.body = "good " + input.body});
  }
};

}  // namespace

PENSTOCK_MODEL(Good);
