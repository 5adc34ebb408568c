#include <stdexcept>

#include "model_runtime/model.h"

namespace {

using namespace penstock::runtime;

class Throwing final : public Model {
 public:
  Throwing() { throw std::runtime_error("no luck"); }
  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state, const Call& /*call*/,
                                              std::size_t /*lane*/) override {
    return state;
  }
};

}  // namespace

PENSTOCK_MODEL(Throwing);
