// In place of perceptron.cu where there is no CUDA to build with: no device is found there, so
// nothing is ever launched.

#include "base/check.h"
#include "examples/matmul/perceptron.h"

namespace penstock::examples {

void launchPerceptron(const float* /*weights*/, const float* /*inputs*/, float* /*hidden*/,
                      float* /*outputs*/, std::size_t /*rows*/, void* /*stream*/) {
  PENSTOCK_CHECK(false, "without CUDA there is no device to launch on");
}

}  // namespace penstock::examples
