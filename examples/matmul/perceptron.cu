// The perceptron on a device. A kernel is a function that the device runs many times at once, each
// time as another thread, which finds out from its index which part of the work is its own.

#include "examples/matmul/perceptron.h"

namespace penstock::examples {
namespace {

// Threads of a block, the unit in which the device hands out work. A multiple of 32, for the device
// runs 32 at a time (a warp).
constexpr unsigned kThreads = 128;

// One layer, a thread for each neuron and row. The weights that neighbouring threads read lie side
// by side, which is what makes reading them fast.
__global__ void layer(const float* matrix, const float* biases, const float* rows, float* results,
                      unsigned inputs, unsigned neurons, bool with_maximum) {
  const unsigned neuron = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned row = blockIdx.y;
  // The last block may have more threads than there are neurons left.
  if (neuron >= neurons) {
    return;
  }
  float sum = biases[neuron];
  for (unsigned i = 0; i < inputs; ++i) {
    sum += rows[row * inputs + i] * matrix[i * neurons + neuron];
  }
  results[row * neurons + neuron] = with_maximum ? fmaxf(sum, 0) : sum;
}

// As many blocks as it takes: across, the neurons; down, the rows.
dim3 blocks(std::size_t neurons, std::size_t rows) {
  return dim3(static_cast<unsigned>((neurons + kThreads - 1) / kThreads),
              static_cast<unsigned>(rows));
}

}  // namespace

void launchPerceptron(const float* weights, const float* inputs, float* hidden, float* outputs,
                      std::size_t rows, void* stream) {
  // <<<blocks, threads in each, shared memory, stream>>>: enqueues the kernel, and does not wait.
  // The second layer begins when the first has ended, since both are on the same stream. What a
  // launch says is picked up by Workspace::end().
  const auto on = static_cast<cudaStream_t>(stream);
  layer<<<blocks(kHidden, rows), kThreads, 0, on>>>(weights, weights + kHiddenBiases, inputs,
                                                    hidden, kInputs, kHidden, true);
  layer<<<blocks(kOutputs, rows), kThreads, 0, on>>>(
      weights + kOutputWeights, weights + kOutputBiases, hidden, outputs, kHidden, kOutputs, false);
}

}  // namespace penstock::examples
