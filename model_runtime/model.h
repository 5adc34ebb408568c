#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/deadline.h"

// What the author of a C++ model compiles against; docs/model-authors.md is the guide. This header
// needs nothing but other headers: a model library links to no part of Penstock.
//
// A model is a class derived from Model in a shared library that says PENSTOCK_MODEL(TheClass)
// once. The runtime makes one object, calls load() once, and then, for each request and in this
// order,
//
//   preprocess(input) ──▶ state ──▶ predict(state) ──▶ state ──▶ postprocess(state) ──▶ output
//
// each on a thread of that stage. Many requests are in preprocess and postprocess at once; at most
// `predict_concurrency` are in predict. Every stage may therefore be called from several threads at
// the same time, on the same object; of predict, never two at once with the same lane.
namespace penstock::runtime {

// Why a stage did not give a result. Becomes the status of the response.
enum class ErrorKind {
  kBadInput,           // 400: the request is at fault, and would be again
  kTooLarge,           // 413: more than this model takes
  kUnsupportedMedia,   // 415: not a content type that this model reads
  kCancelled,          // 499: gave up because the token said so
  kInternal,           // 500: the model is at fault
  kOverloaded,         // 503: not now; the same request may succeed later
  kOutOfDeviceMemory,  // 503, not executed: nothing of the request has begun
};

// message: one sentence for the client, in UTF-8; do not put secrets into it.
struct ModelError {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
};

template <typename T>
using ModelResult = std::expected<T, ModelError>;

inline std::unexpected<ModelError> modelFailure(ErrorKind kind, std::string message) {
  return std::unexpected(ModelError{kind, std::move(message)});
}

// The request's body as it came (at most the sidecar's body limit, 64 MiB by default), and its
// content-type field, empty if it had none.
struct Input {
  std::string body;
  std::string content_type;
};

// The response. status: 200 … 599.
struct Output {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

// What a request carries from stage to stage: derive from it what the model needs. Owned by the
// request; destroyed on a runtime thread, before the client is answered.
class State {
 public:
  virtual ~State() = default;
};

// The states of a model that does without preprocess, or without postprocess.
class InputState final : public State {
 public:
  explicit InputState(Input the_input) : input(std::move(the_input)) {}
  Input input;
};
class OutputState final : public State {
 public:
  explicit OutputState(Output the_output) : output(std::move(the_output)) {}
  Output output;
};

// Says that nobody wants the result any more: the client went away, the request was cancelled, or
// its deadline has passed. Thread-safe.
//
// A stage that looks at it now and then, and returns early (any result will do; it is dropped),
// gives its lane to the next request sooner. One that never looks is waited for: a lane, and a
// request's place in every limit, is free only when the work has really ended.
class CancellationToken {
 public:
  // Costs one atomic load; call it as often as you like.
  virtual bool cancelled() const = 0;
  // Sleeps until `when`, or until cancelled. Whether it slept to the end.
  virtual bool sleepUntil(TimePoint when) const = 0;

 protected:
  ~CancellationToken() = default;
};

// One request, as its stages see it. References are valid during the call of a stage.
struct Call {
  std::string_view request_id;  // x-request-id; may be empty
  Deadline deadline;            // of the whole request, on CLOCK_MONOTONIC; may be never
  const CancellationToken& token;
};

// A figure of the model's own in /metrics. It is read when the page is asked for, on whichever
// thread renders it, from the end of load() to the end of the model: from atomics, say, or under a
// lock that nobody holds for long. If it throws, the page says NaN.
struct ModelMetric {
  enum class Kind { kGauge, kCounter };  // a counter only grows
  // penstock_model_…, of a-z, 0-9 and _; that of a counter, and no other, ends in _total.
  std::string name;
  std::string help;  // one line, the same for all of one name
  std::map<std::string, std::string> labels;
  Kind kind = Kind::kGauge;
  std::function<double()> read;
};

// What load() is given. Valid during load(); copy what you keep.
struct LoadContext {
  std::string directory;                       // the model's, where its config.yaml is; absolute
  std::map<std::string, std::string> options;  // penstock.options of config.yaml, as written
  std::size_t predict_concurrency = 1;         // lanes are numbered from 0 to this minus 1
  std::size_t run_ahead = 0;                   // launching_model.h
  std::function<void(std::string_view)> log;   // one line, at level info
  // During load() only. An error says what is wrong with it, such as a name that comes twice with
  // the same labels.
  std::function<ModelResult<void>(ModelMetric)> add_metric;
  // For what nothing in this process can mend, such as a lost device: logs one line at level error,
  // and ends the process with status 1 for its supervisor to start again. Does not return. May be
  // called from any stage, at any time.
  std::function<void(std::string_view)> end_process;
};

// Which stages a model has. One that it does not have costs no thread and no hand-over.
struct Stages {
  bool preprocess = true;
  bool postprocess = true;
};

class LaunchingModel;

// A model. Exceptions thrown by any of these end in a 500 with a constant text (of load: in the end
// of the process); what() goes to the log.
class Model {
 public:
  virtual ~Model() = default;

  // Asked once, before load(). A model that says false leaves that stage as it is here.
  virtual Stages stages() const { return {}; }

  // Called once, in the background, while the server already answers /health/live; may take
  // minutes. An error, which is logged, ends the process.
  virtual ModelResult<void> load(const LoadContext& /*context*/) { return {}; }

  // Turns the bytes of a request into what predict needs: parse, decode, tokenize.
  virtual ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call& /*call*/) {
    return std::make_unique<InputState>(std::move(input));
  }

  // The work that is limited. state: what preprocess returned. lane: 0 … predict_concurrency - 1;
  // this call has it to itself, with whatever the model keeps per lane (a stream, buffers), and
  // every call with that lane comes on the same thread.
  virtual ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state,
                                                      const Call& call, std::size_t lane) = 0;

  // Itself, if its predict is launched and waited for; see launching_model.h.
  virtual LaunchingModel* launching() { return nullptr; }

  // Turns what predict returned into the response: encode, format. Holds no lane.
  virtual ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call& /*call*/) {
    if (auto* made = dynamic_cast<OutputState*>(state.get())) {
      return std::move(made->output);
    }
    return modelFailure(ErrorKind::kInternal, "the model has no postprocess and no output");
  }
};

// Raised whenever anything above changes. A library made for another version is refused when
// loaded.
inline constexpr std::uint32_t kModelAbiVersion = 4;

}  // namespace penstock::runtime

// Once, at namespace scope, in one source file of the library. ModelClass has a default
// constructor.
#define PENSTOCK_MODEL(ModelClass)                                                               \
  extern "C" __attribute__((visibility("default"))) std::uint32_t penstock_model_abi_version() { \
    return ::penstock::runtime::kModelAbiVersion;                                                \
  }                                                                                              \
  extern "C" __attribute__((visibility("default"))) ::penstock::runtime::Model*                  \
  penstock_model_create() {                                                                      \
    return new ModelClass();                                                                     \
  }                                                                                              \
  static_assert(true, "ends with a semicolon")
