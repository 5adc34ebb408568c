// A model on a fake device, for black-box tests. The body says what happens: "lost" loses the
// device while the request's kernel runs, "endless" is a kernel that never ends, a number is how
// many bytes the request wants on it, and anything else comes back in capitals. The option `metric`
// names a metric of the model's own.

#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "model_runtime/cuda/fault_answer.h"
#include "model_runtime/cuda/lane_metrics.h"
#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/cuda/try.h"
#include "model_runtime/launching_model.h"
#include "tests/model_runtime/cuda/fake_device.h"

namespace penstock::runtime::cuda {
namespace {

struct FakeState final : State {
  std::string text;
  WorkspacePool::Lease workspace;
};

class FakeGpu final : public LaunchingModel {
 public:
  ModelResult<void> load(const LoadContext& context) override {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<FakeDevice>("fake", std::size_t{64} << 20));
    lanes_ = std::move(*LaneSet::make(std::move(devices), {.lanes = context.predict_concurrency,
                                                           .run_ahead = context.run_ahead}));
    faults_ = FaultAnswer(context.end_process);
    if (const auto own = context.options.find("metric"); own != context.options.end()) {
      PENSTOCK_TRY(context.add_metric(
          {.name = own->second, .help = "Seven", .labels = {}, .read = [] { return 7.0; }}));
    }
    return showLanes(*lanes_, context);
  }

  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call&) override {
    auto state = std::make_unique<FakeState>();
    state->text = std::move(input.body);
    return state;
  }

  ModelResult<void> stage(State& state, const Call&) override {
    auto& mine = static_cast<FakeState&>(state);
    mine.workspace = lanes_->takeStagingWorkspace();
    return faults_.answer(upload(mine));
  }

  ModelResult<void> launch(State& state, const Call&, std::size_t number) override {
    auto& mine = static_cast<FakeState&>(state);
    Lane& lane = lanes_->lane(number);
    auto& device = static_cast<FakeDevice&>(lane.device());
    if (mine.workspace == nullptr) {
      mine.workspace = lanes_->takeWorkspace(number);
      PENSTOCK_TRY(faults_.answer(upload(mine)));
    }
    Workspace& workspace = *mine.workspace;
    const std::size_t size = mine.text.size();
    (void)workspace.begin(lane);
    if (mine.text == "endless") {
      device.hold();
    }
    device.kernel(lane.stream(), [from = workspace.input(), to = workspace.output(), size] {
      for (std::size_t i = 0; i < size; ++i) {
        const char c = static_cast<char>(from[i]);
        to[i] = static_cast<std::byte>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
      }
    });
    (void)workspace.end(lane);
    if (mine.text == "lost") {
      device.fail(DeviceFault::kLost);
    }
    return {};
  }

  ModelResult<void> finish(State& state, const Call&, std::size_t) override {
    return faults_.answer(static_cast<FakeState&>(state).workspace->awaitKernels());
  }

  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state, const Call&) override {
    auto& mine = static_cast<FakeState&>(*state);
    auto output = mine.workspace->awaitOutput();
    if (!output) {
      return std::unexpected(faults_(output.error()));
    }
    std::memcpy(mine.text.data(), output->data(), output->size());
    mine.workspace.reset();
    return state;
  }

  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call&) override {
    return Output{.content_type = "text/plain",
                  .body = std::move(static_cast<FakeState&>(*state).text)};
  }

 private:
  static DeviceResult<void> upload(const FakeState& state) {
    std::size_t wanted = 1;
    const std::string& text = state.text;
    std::from_chars(text.data(), text.data() + text.size(), wanted);
    PENSTOCK_TRY(
        state.workspace->reserve({.input = text.size(), .output = text.size(), .scratch = wanted}));
    std::memcpy(state.workspace->staging().data(), text.data(), text.size());
    return state.workspace->upload();
  }

  std::unique_ptr<LaneSet> lanes_;
  FaultAnswer faults_{{}};
};

}  // namespace
}  // namespace penstock::runtime::cuda

PENSTOCK_MODEL(penstock::runtime::cuda::FakeGpu);
