#pragma once

#include <cstddef>
#include <span>
#include <vector>

// A small multilayer perceptron: 64 numbers in, a hidden layer of 256 neurons, 10 numbers out. For
// each row of the input,
//
//   hidden = max(0, row × W1 + b1)
//   output = hidden × W2 + b2
//
// C++20: nvcc reads this header too.
namespace penstock::examples {

inline constexpr std::size_t kInputs = 64;
inline constexpr std::size_t kHidden = 256;
inline constexpr std::size_t kOutputs = 10;

// One array holds all of the model, so that one copy brings it to a device: W1, b1, W2, b2, one
// after the other, and of a matrix what belongs to one input in one piece.
inline constexpr std::size_t kHiddenBiases = kInputs * kHidden;
inline constexpr std::size_t kOutputWeights = kHiddenBiases + kHidden;
inline constexpr std::size_t kOutputBiases = kOutputWeights + kHidden * kOutputs;
inline constexpr std::size_t kWeights = kOutputBiases + kOutputs;

// Made up, but always the same.
std::vector<float> makeWeights();

// The reference, on the processor. inputs: rows × kInputs numbers. Returns rows × kOutputs.
std::vector<float> runPerceptron(std::span<const float> weights, std::span<const float> inputs);

// The same on a device: enqueues it on stream, a cudaStream_t of the calling thread's device, and
// returns. All pointers are into the device's memory; hidden has room for rows × kHidden numbers.
void launchPerceptron(const float* weights, const float* inputs, float* hidden, float* outputs,
                      std::size_t rows, void* stream);

}  // namespace penstock::examples
