#include "sidecar/native_executor.h"

#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "base/check.h"
#include "model_runtime/native/model_library.h"
#include "sidecar/route.h"

namespace penstock::sidecar {
namespace {

std::size_t runAhead(const ModelConfig& config) {
  const auto* native = std::get_if<NativeModel>(&config.kind);
  return native == nullptr ? 0 : native->run_ahead;
}

}  // namespace

NativeExecutor::NativeExecutor(net::EventLoop& loop, const ModelConfig& config,
                               std::size_t max_in_flight, Logger& log, Metrics& metrics,
                               Owner& owner)
    : loop_(loop),
      config_(config),
      max_in_flight_(max_in_flight),
      log_(log),
      metrics_(metrics),
      owner_(owner) {}

NativeExecutor::~NativeExecutor() {
  if (loader_.joinable()) {
    loader_.join();
  }
  // Its completions reach the rest of this.
  runtime_.reset();
}

void NativeExecutor::start() {
  loader_ = std::thread([this] {
    auto loaded = load();
    loop_.post([this, loaded = std::move(loaded)]() mutable { onLoaded(std::move(loaded)); });
  });
}

// On the loader's thread.
Result<std::unique_ptr<runtime::Model>> NativeExecutor::load() {
  const auto& native = std::get<NativeModel>(config_.kind);
  const auto path = runtime::findModelLibrary(native.library, config_.directory);
  if (!path) {
    return std::unexpected(path.error());
  }
  auto model = runtime::loadModelLibrary(*path);
  if (!model) {
    return model;
  }
  if (native.run_ahead > 0 && (*model)->launching() == nullptr) {
    return failure(
        "run_ahead: this model's predict is not launched but called, so nothing can run ahead");
  }
  const runtime::LoadContext context{
      .directory = config_.directory,
      .options = native.options,
      .predict_concurrency = config_.predict_concurrency,
      .run_ahead = native.run_ahead,
      .log = [this](std::string_view line) { log_.info("model says", {{"text", line}}); },
      .add_metric =
          [this](runtime::ModelMetric metric) { return model_metrics_.add(std::move(metric)); },
      .end_process = [this](std::string_view line) { endProcess(line); }};
  try {
    if (auto ok = (*model)->load(context); !ok) {
      return failure(ok.error().message);
    }
  } catch (const std::exception& exception) {
    return failure(std::string("load threw an exception: ") + exception.what());
  } catch (...) {
    return failure("load threw something that is no std::exception");
  }
  return model;
}

// Other threads may be inside the model, which cannot be stopped, and destructors would wait for
// them: so none run. Whoever finds out second waits for the end.
void NativeExecutor::endProcess(std::string_view why) {
  static std::mutex first;
  const std::lock_guard lock(first);
  log_.error("the model cannot go on", {{"error", why}});
  log_.flush();
  std::_Exit(EXIT_FAILURE);
}

void NativeExecutor::onLoaded(Result<std::unique_ptr<runtime::Model>> loaded) {
  if (!loaded) {
    owner_.onExecutorFailed(loaded.error().message);
    return;
  }
  model_metrics_.show(metrics_);
  use(std::move(*loaded));
}

void NativeExecutor::use(std::unique_ptr<runtime::Model> model) {
  model_ = std::move(model);
  runtime_ = std::make_unique<runtime::Runtime>(
      *model_, loop_.clock(), log_, metrics_,
      runtime::Runtime::Options{.predict_concurrency = config_.predict_concurrency,
                                .run_ahead = runAhead(config_),
                                .preprocess_threads = config_.preprocess_threads,
                                .postprocess_threads = config_.postprocess_threads,
                                .max_in_flight = max_in_flight_,
                                .max_waiting = config_.max_waiting,
                                .gate_timeout = config_.gate_timeout,
                                .hang_timeout = std::get<NativeModel>(config_.kind).hang_timeout,
                                .on_hang = [this](std::string_view why) { endProcess(why); }});
  owner_.onExecutorReady();
}

void NativeExecutor::drain() {
  draining_ = true;
  if (runtime_ != nullptr) {
    runtime_->drain();
  }
}

std::optional<Refusal> NativeExecutor::unready() const {
  if (draining_) {
    return Refusal::kDraining;
  }
  if (runtime_ == nullptr) {
    return Refusal::kNotReady;
  }
  return std::nullopt;
}

std::expected<Intake, Reply> NativeExecutor::intake(const http::RequestHead& head) {
  if (!isPredictPath(head.path)) {
    return std::unexpected(makeRefusal(Refusal::kNotFound));
  }
  if (head.method != "POST") {
    return std::unexpected(makeMethodNotAllowed("POST"));
  }
  if (const auto refusal = unready()) {
    return std::unexpected(makeRefusal(*refusal));
  }
  return Intake::kWhole;
}

std::expected<Executor::Id, Reply> NativeExecutor::submit(Work work, Listener& listener) {
  PENSTOCK_CHECK(runtime_ != nullptr, "what is not ready takes nothing in");
  const Id id = ++last_id_;
  auto handle = runtime_->submit(
      {.input = {.body = std::move(work.body),
                 .content_type = std::string(work.head.headers.get("content-type").value_or(""))},
       .request_id = std::move(work.request_id),
       .deadline = work.deadline},
      [this, id](runtime::Outcome outcome) {
        loop_.post([this, id, outcome = std::move(outcome)]() mutable {
          onOutcome(id, std::move(outcome));
        });
      });
  if (!handle.has_value()) {
    return std::unexpected(makeRefusal(handle.error() == runtime::Runtime::Refusal::kFull
                                           ? Refusal::kConcurrencyLimit
                                           : Refusal::kDraining));
  }
  running_.emplace(id, Running{std::move(*handle), &listener});
  return id;
}

void NativeExecutor::cancel(Id id) {
  running_.at(id).handle.cancel();
}

void NativeExecutor::onOutcome(Id id, runtime::Outcome outcome) {
  const auto running = running_.extract(id);
  running.mapped().listener->onReply(makeReply(std::move(outcome)));
}

std::size_t NativeExecutor::inFlight() const {
  return runtime_ == nullptr ? 0 : runtime_->inFlight();
}

runtime::PredictGate::Snapshot NativeExecutor::gate() const {
  return runtime_ == nullptr ? runtime::PredictGate::Snapshot() : runtime_->gate();
}

std::optional<runtime::LaneIdle::Totals> NativeExecutor::idle() const {
  return runtime_ == nullptr ? std::nullopt : std::optional(runtime_->idle());
}

}  // namespace penstock::sidecar
