// The smallest complete model on a GPU, to copy from. It multiplies rows of numbers with the
// weights of a small perceptron (perceptron.h); the kernels are in perceptron.cu, what is JSON in
// matmul_request.h. docs/gpu.md draws the whole picture.
//
// Options (penstock.options in config.yaml):
//   device     cpu, cuda or auto (a GPU if there is one), auto
//   priority   high or normal (of the lanes' streams), high
//
// The words. The *host* is the processor with its memory, the *device* a GPU with memory of its
// own. A *stream* is a queue of work for a device: kernels and copies run in the order in which
// they were enqueued, while the host does something else. A *lane* is one stream, on which one
// request runs at a time; there are predict_concurrency of them. A *workspace* is what one request
// has on the device: memory for its input, its output and what lies between.

#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "examples/matmul/matmul_request.h"
#include "examples/matmul/perceptron.h"
#include "model_runtime/cuda/device_options.h"
#include "model_runtime/cuda/fault_answer.h"
#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/cuda/try.h"
#include "model_runtime/launching_model.h"

namespace penstock::examples {
namespace {

using namespace penstock::runtime;

// What a request carries from stage to stage. One class for all stages is the least to write.
struct MatmulState final : State {
  std::vector<float> numbers;            // the input, and in the end the output
  cuda::WorkspacePool::Lease workspace;  // on a device, from stage to collect
};

// A LaunchingModel is one whose predict is work that a device does by itself. Its stages, in the
// order in which a request meets them: preprocess, stage, launch, finish, collect, postprocess.
class MatmulModel final : public LaunchingModel {
 public:
  // Once, at the start. What is returned as an error goes to the log and ends the process.
  ModelResult<void> load(const LoadContext& context) override {
    cuda::DeviceOptions device;
    for (const auto& [name, value] : context.options) {
      // A misspelt option is better refused than ignored.
      if (!device.take(name, value)) {
        return modelFailure(ErrorKind::kBadInput, "options: there is no " + name);
      }
    }
    // A real model would read its weights from a file in context.directory.
    weights_ = makeWeights();

    // Opens the GPUs that CUDA_VISIBLE_DEVICES shows, and makes a lane for each predict that may
    // run at once, spread over them. Null: the processor is to be used.
    auto lanes = cuda::openLanes(device, context);
    // Returns the error, if there was one.
    PENSTOCK_TRY(lanes);
    lanes_ = std::move(*lanes);
    if (lanes_ != nullptr) {
      // Faults of a device become answers; a lost device ends the process, for its supervisor to
      // start again, since nothing works on it any more.
      faults_ = cuda::FaultAnswer(context.end_process);
      // Weights are copied to each device now, and not with each request.
      auto kept = lanes_->keep(std::as_bytes(std::span(weights_)));
      if (!kept.has_value()) {
        return modelFailure(ErrorKind::kInternal, "the weights: " + kept.error().text());
      }
      device_weights_ = std::move(*kept);
      // A kernel comes to the device when it is first launched there. Whatever is wrong with that
      // (no code for this GPU, no memory left) is better found now than by a request.
      for (std::size_t lane = 0; lane < lanes_->lanes(); ++lane) {
        if (auto ran = tryOut(lane); !ran.has_value()) {
          return modelFailure(ErrorKind::kInternal, "the first launch: " + ran.error().text());
        }
      }
    }
    return {};
  }

  // Any number of requests at once, on threads of the stage's own; holds no lane. All that can be
  // done before a request has the device belongs here, above all finding out that it is wrong.
  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call& /*call*/) override {
    auto rows = parseRows(input.body);
    PENSTOCK_TRY(rows);
    auto state = std::make_unique<MatmulState>();
    state->numbers = std::move(*rows);
    return state;
  }

  // Has no lane yet, but is next in line: the input goes to the device beside the kernels of those
  // that have one.
  ModelResult<void> stage(State& state, const Call& /*call*/) override {
    auto& mine = static_cast<MatmulState&>(state);
    if (lanes_ != nullptr) {
      // There are as many workspaces as requests on the device, so one is free. None is given if
      // there are several devices: the lane is to say which.
      mine.workspace = lanes_->takeStagingWorkspace();
    }
    return mine.workspace == nullptr ? ModelResult<void>()
                                     : faults_.answer(upload(mine.numbers, *mine.workspace));
  }

  // Has the lane. Enqueues the request's work on the device, and returns without waiting for it.
  ModelResult<void> launch(State& state, const Call& /*call*/, std::size_t lane) override {
    if (lanes_ == nullptr) {
      return {};
    }
    auto& mine = static_cast<MatmulState&>(state);
    // Not staged, because the lane was free.
    if (mine.workspace == nullptr) {
      mine.workspace = lanes_->takeWorkspace(lane);
      PENSTOCK_TRY(faults_.answer(upload(mine.numbers, *mine.workspace)));
    }
    return faults_.answer(enqueue(mine, *mine.workspace, lanes_->lane(lane)));
  }

  // Has the lane, which goes to the next request when this returns.
  ModelResult<void> finish(State& state, const Call& /*call*/, std::size_t /*lane*/) override {
    auto& mine = static_cast<MatmulState&>(state);
    if (lanes_ == nullptr) {
      mine.numbers = runPerceptron(weights_, mine.numbers);
      return {};
    }
    // Sleeps until the kernels have ended; the thread uses no core meanwhile.
    return faults_.answer(mine.workspace->awaitKernels());
  }

  // Holds no lane: the next request's kernels run while this one's output is still on its way.
  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state,
                                              const Call& /*call*/) override {
    auto& mine = static_cast<MatmulState&>(*state);
    if (lanes_ != nullptr) {
      auto output = mine.workspace->awaitOutput();
      PENSTOCK_TRY(faults_.answer(output));
      mine.numbers.resize(output->size() / sizeof(float));
      std::memcpy(mine.numbers.data(), output->data(), output->size());
      // The output has been copied, so the next request may have the workspace. One that was
      // cancelled does not come here; its workspace goes back when its state is destroyed.
      mine.workspace.reset();
    }
    return state;
  }

  // Any number at once again.
  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call& /*call*/) override {
    return Output{.body = formatRows(static_cast<const MatmulState&>(*state).numbers)};
  }

 private:
  // Each call may fail; PENSTOCK_TRY returns the first error.
  static cuda::DeviceResult<void> upload(std::span<const float> numbers,
                                         cuda::Workspace& workspace) {
    const std::size_t rows = numbers.size() / kInputs;
    // All memory at once and first, so that a request for which there is none (503, not executed)
    // has begun nothing. Requests of sizes seen before allocate nothing.
    PENSTOCK_TRY(workspace.reserve({.input = numbers.size_bytes(),
                                    .output = rows * kOutputs * sizeof(float),
                                    .scratch = rows * kHidden * sizeof(float)}));
    // Copies run beside kernels only from pinned memory, which staging() is: the system leaves it
    // where it is, so that the device can read it by itself.
    std::memcpy(workspace.staging().data(), numbers.data(), numbers.size_bytes());
    // Enqueues the copy to the device, on the workspace's own stream.
    return workspace.upload();
  }

  cuda::DeviceResult<void> enqueue(const MatmulState& state, cuda::Workspace& workspace,
                                   cuda::Lane& lane) const {
    const std::size_t rows = state.numbers.size() / kInputs;
    // The lane waits for the upload, and notes, on the device, when the kernels begin.
    PENSTOCK_TRY(workspace.begin(lane));
    // Weights are read where this lane's device has them.
    const std::byte* weights = device_weights_[lane.deviceIndex()];
    launchPerceptron(reinterpret_cast<const float*>(weights),
                     reinterpret_cast<const float*>(workspace.input()),
                     reinterpret_cast<float*>(workspace.scratch()),
                     reinterpret_cast<float*>(workspace.output()), rows, lane.stream().handle);
    // Notes when they end, hears what the launches said, and enqueues the output's copy back.
    return workspace.end(lane);
  }

  // One row, all the way that a request's rows go.
  cuda::DeviceResult<void> tryOut(std::size_t lane) {
    MatmulState state;
    state.numbers.resize(kInputs);
    state.workspace = lanes_->takeWorkspace(lane);
    PENSTOCK_TRY(upload(state.numbers, *state.workspace));
    PENSTOCK_TRY(enqueue(state, *state.workspace, lanes_->lane(lane)));
    PENSTOCK_TRY(state.workspace->awaitKernels());
    PENSTOCK_TRY(state.workspace->awaitOutput());
    return {};
  }

  // In this order, for members are destroyed in the reverse of it.
  std::vector<float> weights_;
  std::unique_ptr<cuda::LaneSet> lanes_;  // null: the processor
  std::vector<const std::byte*> device_weights_;
  cuda::FaultAnswer faults_{{}};
};

}  // namespace
}  // namespace penstock::examples

// What the sidecar looks for in the library.
PENSTOCK_MODEL(penstock::examples::MatmulModel);
