// Takes noise out of a photograph: PNG or JPEG in, PNG out. Preprocess decodes, predict computes
// (on a GPU, or on all cores), postprocess encodes.
//
// Options (penstock.options in config.yaml), whole numbers but for the first two:
//   device           cpu, cuda or auto (a GPU if there is one), auto
//   priority         high or normal (of the lanes' streams), high
//   search_radius    1 … 20, 7      patch_radius  0 … 5, 2      (non_local_means.h)
//   threads          1 … 256, the machine's cores divided by the predict concurrency
//   max_megapixels   1 … 64, 64     more are refused (413) before they are decoded

#include <algorithm>
#include <charconv>
#include <memory>
#include <thread>
#include <utility>

#include "examples/denoise/denoise_request.h"
#include "examples/denoise/device_filter.h"
#include "examples/denoise/image_codec.h"
#include "examples/denoise/non_local_means.h"
#include "model_runtime/cuda/device_options.h"
#include "model_runtime/cuda/fault_answer.h"
#include "model_runtime/cuda/try.h"
#include "model_runtime/launching_model.h"

namespace penstock::examples {
namespace {

using runtime::Call;
using runtime::ErrorKind;
using runtime::Input;
using runtime::LoadContext;
using runtime::modelFailure;
using runtime::ModelResult;
using runtime::Output;
using runtime::State;

struct DenoiseState final : State {
  Image image;
  bool json = false;
  double sigma = 0;               // of the image's noise; on a device
  DeviceFilter::Lease workspace;  // from stage to collect; empty if there is nothing to do
};

struct Option {
  const char* name;
  std::size_t least;
  std::size_t most;
  std::size_t* value;
};

bool read(const std::string& text, const Option& option) {
  std::size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < option.least || value > option.most) {
    return false;
  }
  *option.value = value;
  return true;
}

class DenoiseModel final : public runtime::LaunchingModel {
 public:
  ModelResult<void> load(const LoadContext& context) override {
    parameters_.threads =
        std::max<std::size_t>(1, std::thread::hardware_concurrency() / context.predict_concurrency);
    const Option options[] = {{"search_radius", 1, 20, &parameters_.search_radius},
                              {"patch_radius", 0, 5, &parameters_.patch_radius},
                              {"threads", 1, 256, &parameters_.threads},
                              {"max_megapixels", 1, 64, &max_megapixels_}};
    runtime::cuda::DeviceOptions device;
    for (const auto& [name, text] : context.options) {
      if (device.take(name, text)) {
        continue;
      }
      const auto* option = std::ranges::find(options, name, &Option::name);
      if (option == std::end(options)) {
        return modelFailure(ErrorKind::kBadInput, "options: there is no " + name);
      }
      if (!read(text, *option)) {
        return modelFailure(ErrorKind::kBadInput, "options: " + name + ": expected a number from " +
                                                      std::to_string(option->least) + " to " +
                                                      std::to_string(option->most));
      }
    }
    auto lanes = runtime::cuda::openLanes(device, context);
    PENSTOCK_TRY(lanes);
    if (*lanes != nullptr) {
      device_ = std::make_unique<DeviceFilter>(std::move(*lanes), parameters_);
      faults_ = runtime::cuda::FaultAnswer(context.end_process);
      return tryOut();
    }
    return {};
  }

  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call& /*call*/) override {
    auto request = parseDenoiseRequest(std::move(input));
    if (!request.has_value()) {
      return std::unexpected(std::move(request.error()));
    }
    auto image = decodeImage(request->file, max_megapixels_ * 1'000'000);
    if (!image.has_value()) {
      return std::unexpected(std::move(image.error()));
    }
    auto state = std::make_unique<DenoiseState>();
    state->image = std::move(*image);
    state->json = request->json;
    if (device_ != nullptr) {
      state->sigma = estimateNoise(state->image);
    }
    return state;
  }

  ModelResult<void> stage(State& state, const Call& /*call*/) override {
    auto& mine = static_cast<DenoiseState&>(state);
    if (device_ == nullptr || !hasNoise(mine.sigma)) {
      return {};
    }
    return faults_.answer(device_->stage(mine.image, mine.workspace));
  }

  ModelResult<void> launch(State& state, const Call& /*call*/, std::size_t lane) override {
    auto& mine = static_cast<DenoiseState&>(state);
    if (device_ == nullptr || !hasNoise(mine.sigma)) {
      return {};
    }
    return faults_.answer(device_->launch(mine.image, mine.sigma, lane, mine.workspace));
  }

  // Without a device the work is done here, where a lane has one request at a time.
  ModelResult<void> finish(State& state, const Call& call, std::size_t /*lane*/) override {
    auto& mine = static_cast<DenoiseState&>(state);
    if (device_ == nullptr) {
      mine.image = denoise(mine.image, parameters_, [&call] { return call.token.cancelled(); });
      return {};
    }
    return mine.workspace == nullptr ? ModelResult<void>()
                                     : faults_.answer(DeviceFilter::finish(*mine.workspace));
  }

  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state,
                                              const Call& /*call*/) override {
    auto& mine = static_cast<DenoiseState&>(*state);
    if (mine.workspace != nullptr) {
      PENSTOCK_TRY(faults_.answer(DeviceFilter::collect(mine.workspace, mine.image)));
    }
    return state;
  }

  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call& /*call*/) override {
    const auto& mine = static_cast<const DenoiseState&>(*state);
    auto png = encodePng(mine.image);
    if (!png.has_value()) {
      return std::unexpected(std::move(png.error()));
    }
    return denoiseOutput(std::move(*png), mine.json);
  }

 private:
  // The smallest images, on each lane: a kernel comes to a device when it is first launched there,
  // and whatever is wrong with that is better found now than by a request.
  ModelResult<void> tryOut() {
    for (std::size_t lane = 0; lane < device_->lanes().lanes(); ++lane) {
      for (const std::size_t channels : {1, 3}) {
        Image image{.width = 1, .height = 1, .channels = channels, .pixels = {}};
        image.pixels.resize(channels);
        DeviceFilter::Lease workspace;
        auto done = device_->launch(image, 1, lane, workspace);
        if (done.has_value()) {
          done = DeviceFilter::finish(*workspace);
        }
        if (done.has_value()) {
          done = DeviceFilter::collect(workspace, image);
        }
        if (!done.has_value()) {
          return modelFailure(ErrorKind::kInternal, "the first launch: " + done.error().text());
        }
      }
    }
    return {};
  }

  NonLocalMeans parameters_;
  std::size_t max_megapixels_ = 64;
  std::unique_ptr<DeviceFilter> device_;  // null: the processor
  runtime::cuda::FaultAnswer faults_{{}};
};

}  // namespace
}  // namespace penstock::examples

PENSTOCK_MODEL(penstock::examples::DenoiseModel);
