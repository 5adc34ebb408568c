#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "examples/matmul/perceptron.h"
#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/cuda/try.h"
#include "tests/gpu/checks.h"
#include "tests/gpu/must.h"

namespace penstock {
namespace {

using examples::kHidden;
using examples::kInputs;
using examples::kOutputs;
using runtime::cuda::DeviceResult;
using runtime::cuda::LaneSet;

// As examples/matmul does it.
DeviceResult<std::vector<float>> runOnDevice(LaneSet& lanes, const std::byte* weights,
                                             const std::vector<float>& inputs) {
  const std::size_t rows = inputs.size() / kInputs;
  auto& lane = lanes.lane(0);
  auto workspace = lanes.takeWorkspace(0);
  PENSTOCK_TRY(workspace->reserve({.input = inputs.size() * sizeof(float),
                                   .output = rows * kOutputs * sizeof(float),
                                   .scratch = rows * kHidden * sizeof(float)}));
  std::memcpy(workspace->staging().data(), inputs.data(), workspace->staging().size());
  PENSTOCK_TRY(workspace->upload());
  PENSTOCK_TRY(workspace->begin(lane));
  examples::launchPerceptron(
      reinterpret_cast<const float*>(weights), reinterpret_cast<const float*>(workspace->input()),
      reinterpret_cast<float*>(workspace->scratch()), reinterpret_cast<float*>(workspace->output()),
      rows, lane.stream().handle);
  PENSTOCK_TRY(workspace->end(lane));
  PENSTOCK_TRY(workspace->awaitKernels());
  const auto output = workspace->awaitOutput();
  PENSTOCK_TRY(output);
  std::vector<float> outputs(output->size() / sizeof(float));
  std::memcpy(outputs.data(), output->data(), output->size());
  return outputs;
}

}  // namespace

void checkMatmul(Table& table) {
  const auto lanes = must(LaneSet::make(must(runtime::cuda::openDevices()), {.lanes = 1}));
  const std::vector<float> weights = examples::makeWeights();
  const auto kept = must(lanes->keep(std::as_bytes(std::span(weights))));
  double worst = 0;
  for (const std::size_t rows : {1, 2, 31, 1024}) {
    std::vector<float> inputs(rows * kInputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = static_cast<float>(i * 7919 % 2001) / 1000 - 1;
    }
    const std::vector<float> got = must(runOnDevice(*lanes, kept.front(), inputs));
    const std::vector<float> wanted = examples::runPerceptron(weights, inputs);
    PENSTOCK_CHECK(got.size() == wanted.size(), "a row of outputs for each of inputs");
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(got[i]) - wanted[i]));
    }
  }
  table.row("matmul: difference from the reference, worst of 4 sizes", text("%.1e", worst),
            "≤ 1e-5", worst <= 1e-5);
}

}  // namespace penstock
