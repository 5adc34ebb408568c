// The worker's life: started, loaded, lost, started again.

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "model_runtime/python/python_request.h"
#include "model_runtime/python/python_runtime.h"

namespace penstock::runtime {

void PythonRuntime::start() {
  startWorker();
}

void PythonRuntime::startWorker() {
  auto started = Worker::start(loop_, options_.worker, options_.predict_concurrency, log_, *this);
  if (started) {
    worker_ = std::move(*started);
    log_.info("model worker started", {{"pid", worker_->pid()}});
  } else if (loaded_once_) {
    log_.error("the model's worker cannot be started", {{"why", started.error().message}});
    startWorkerLater();
  } else {
    fail(started.error().message);
  }
}

void PythonRuntime::stop(std::move_only_function<void()> stopped) {
  stopping_ = true;
  restart_.disarm();
  if (worker_ == nullptr) {
    stopped();
    return;
  }
  stopped_ = std::move(stopped);
  worker_->hangUp();
}

void PythonRuntime::kill() {
  stopping_ = true;
  restart_.disarm();
  if (worker_ != nullptr) {
    worker_->kill();
  }
}

void PythonRuntime::startWorkerLater() {
  restart_.armAfter(back_off_);
  back_off_ = std::min(back_off_ * 2, options_.longest_back_off);
}

std::string PythonRuntime::onLoaded(std::string_view payload) {
  const auto object = nlohmann::json::parse(payload, nullptr, false);
  if (!object.is_object() || !object.contains("operations") || !object["operations"].is_array()) {
    return "it sent a LOADED that is none";
  }
  operations_.clear();
  for (int i = 0; i <= static_cast<int>(Operation::kWebSocket); ++i) {
    const auto operation = static_cast<Operation>(i);
    if (std::ranges::any_of(object["operations"],
                            [&](const auto& name) { return name == toString(operation); })) {
      operations_.insert(operation);
    }
  }
  // Members are looked at where they lie: to copy one costs stack, as much as the worker likes.
  const auto preprocess = object.find("preprocess");
  has_preprocess_ = preprocess != object.end() && preprocess->is_string();
  async_preprocess_ = has_preprocess_ && *preprocess == "async";
  const auto is_healthy = object.find("is_healthy");
  asks_health_ = is_healthy != object.end() && *is_healthy == true;
  const auto schema = object.find("schema");
  schema_ = schema != object.end() && schema->is_string() ? schema->get<std::string>() : "";
  ready_ = true;
  ready_since_ = loop_.now();
  const auto seconds = object.find("load_seconds");
  const bool known = seconds != object.end() && seconds->is_number();
  log_.info("model loaded",
            {{"pid", worker_->pid()}, {"seconds", known ? seconds->get<double>() : 0.0}});
  if (!std::exchange(loaded_once_, true)) {
    owner_.onModelReady();
  } else {
    resume();
  }
  return {};
}

void PythonRuntime::onLoadFailed(std::string_view why) {
  if (loaded_once_) {
    log_.error("the model cannot be loaded again", {{"why", why}});
  } else {
    fail(why);
  }
}

void PythonRuntime::fail(std::string_view why) {
  if (!std::exchange(failed_, true)) {
    owner_.onModelFailed(why);
  }
}

void PythonRuntime::onWorkerEnded(const std::string& how) {
  const bool was_ready = std::exchange(ready_, false);
  log_.log(stopping_ ? LogLevel::kInfo : LogLevel::kError, "the model's worker ended",
           {{"pid", worker_->pid()}, {"how", how}});
  noteBegun();
  loop_.destroyLater(std::move(worker_));
  health_question_.reset();
  while (!checks_.empty()) {
    answerHealth(checks_.begin()->first, false);
  }
  if (stopping_) {
    if (stopped_) {
      std::exchange(stopped_, nullptr)();
    }
    return;
  }
  if (!loaded_once_) {
    fail("the worker ended (" + how + ") before the model was loaded");
    return;
  }
  loseRequests();
  if (was_ready && loop_.now() - ready_since_ >= options_.longest_back_off) {
    back_off_ = options_.restart_back_off;
  }
  restarts_.add();
  startWorkerLater();
}

// A lane begins a request before this process is told. Of what the worker left there, only what is
// a request that it was allowed to begin means anything.
void PythonRuntime::noteBegun() {
  for (const Id id : worker_->lastBegun()) {
    const auto at = requests_.find(id);
    if (at != requests_.end() && at->second->sent && at->second->allowed_number > 0) {
      at->second->begun = true;
    }
  }
}

// What the model may have touched is lost; what only this process had goes on waiting.
void PythonRuntime::loseRequests() {
  preparing_ = 0;
  std::vector<Request*> lost;
  for (auto& [id, request] : requests_) {
    if (request->sent && request->state != Request::State::kEnded) {
      lost.push_back(request.get());
    }
  }
  for (Request* request : lost) {
    // What was about to run when two workers died is perhaps what they died of.
    const bool suspect = request->state == Request::State::kGranted && request->sent_to > 1;
    const bool keeps = !request->touched() && !request->prepared && !request->end_as.has_value() &&
                       request->state != Request::State::kPreparing && !suspect;
    if (keeps) {
      request->sent = false;
      continue;
    }
    const End end = request->end_as.value_or(request->touched() || suspect ? End::kWorkerLost
                                                                           : End::kNotExecuted);
    // So that its lane does not go to one that is lost too.
    if (request->state == Request::State::kWaiting) {
      gate_.leave(*request);
    }
    finishLater(*request, end);
  }
  for (Request* request : lost) {
    if (request->permit.has_value() && request->state == Request::State::kEnded) {
      release(*request, loop_.clock().now());
    }
  }
}

// Tells a new worker what it may run, in the order in which that was decided.
void PythonRuntime::resume() {
  std::vector<Request*> allowed;
  for (auto& [id, request] : requests_) {
    if (request->allowed_number > 0 && !request->sent && request->state != Request::State::kEnded) {
      allowed.push_back(request.get());
    }
  }
  std::ranges::sort(allowed, {}, &Request::allowed_number);
  for (Request* request : allowed) {
    transmit(*request, true);
  }
  prepareQueued();
}

}  // namespace penstock::runtime
