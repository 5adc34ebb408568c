#include "examples/matmul/perceptron.h"

#include <algorithm>
#include <cstdint>

namespace penstock::examples {
namespace {

// row × matrix + biases. In double, so that it is nearer to the truth than what it is compared
// with.
std::vector<double> layer(std::span<const double> row, std::span<const float> matrix,
                          std::span<const float> biases) {
  std::vector<double> sums(biases.begin(), biases.end());
  for (std::size_t i = 0; i < row.size(); ++i) {
    for (std::size_t neuron = 0; neuron < sums.size(); ++neuron) {
      sums[neuron] += row[i] * static_cast<double>(matrix[i * sums.size() + neuron]);
    }
  }
  return sums;
}

}  // namespace

// A linear congruential generator with the multiplier and the increment that Knuth gives for MMIX
// (The Art of Computer Programming, volume 2): the same numbers with any compiler and library. Its
// upper 24 bits fit a float exactly, and so do products with a power of two.
std::vector<float> makeWeights() {
  std::vector<float> weights(kWeights);
  std::uint64_t state = 2026;
  for (std::size_t i = 0; i < kWeights; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float signed_unit = (static_cast<float>(state >> 40) - static_cast<float>(1 << 23)) /
                              static_cast<float>(1 << 23);
    // One over the root of a neuron's inputs: what comes out is about as large as what goes in.
    weights[i] = signed_unit * (i < kOutputWeights ? 1.0f / 8 : 1.0f / 16);
  }
  return weights;
}

std::vector<float> runPerceptron(std::span<const float> weights, std::span<const float> inputs) {
  std::vector<float> outputs;
  for (std::size_t at = 0; at < inputs.size(); at += kInputs) {
    const std::vector<double> row(inputs.begin() + static_cast<std::ptrdiff_t>(at),
                                  inputs.begin() + static_cast<std::ptrdiff_t>(at + kInputs));
    auto hidden = layer(row, weights.first(kHiddenBiases), weights.subspan(kHiddenBiases, kHidden));
    for (double& value : hidden) {
      value = std::max(value, 0.0);
    }
    for (const double value : layer(hidden, weights.subspan(kOutputWeights, kHidden * kOutputs),
                                    weights.subspan(kOutputBiases, kOutputs))) {
      outputs.push_back(static_cast<float>(value));
    }
  }
  return outputs;
}

}  // namespace penstock::examples
