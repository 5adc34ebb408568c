// The instrument for every test of order and limits: a request says how long each stage takes, the
// answer says when each was entered and left.
//
//   {"preprocess_ms":…,"predict_ms":…,"postprocess_ms":…,"busy":…,"echo":…}     each optional
//
//   {"request":…,                 the value of "echo"; else x-request-id as a string, or null
//    "replica_in_flight":…,       requests in this model, from preprocess begun to postprocess
//    ended, when
//                                 this one's preprocess began; itself included
//    "predict_in_flight":…,       requests in predict when this one's predict began; itself
//    included "stages":{"preprocess":{"start":…,"end":…},"predict":{…},"postprocess":{…}}}
//
// Times are seconds on CLOCK_MONOTONIC, to the microsecond. The highest number that any request
// reports is the highest there was, since a number is at its highest when somebody has just come
// in. With "busy" a stage spins, otherwise it sleeps; either ends early when the request is
// cancelled.

#include <atomic>
#include <chrono>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/json_escape.h"
#include "examples/stages/stages_request.h"
#include "model_runtime/model.h"

namespace penstock::examples {
namespace {

using runtime::Call;
using runtime::ErrorKind;
using runtime::Input;
using runtime::modelFailure;
using runtime::ModelResult;
using runtime::Output;
using runtime::State;

TimePoint now() {
  return std::chrono::steady_clock::now();
}

// One of those that are in; counts itself out.
class Present {
 public:
  explicit Present(std::atomic<int>& count) : count_(count), number_(++count) {}
  ~Present() { --count_; }
  Present(const Present&) = delete;
  Present& operator=(const Present&) = delete;
  // How many there were when it came in.
  int number() const { return number_; }

 private:
  std::atomic<int>& count_;
  const int number_;
};

struct Span {
  TimePoint start;
  TimePoint end;
};

struct StagesState final : State {
  explicit StagesState(std::atomic<int>& replica) : in_replica(replica) {}
  Present in_replica;
  StagesRequest request;
  int predict_in_flight = 0;
  Span preprocess{}, predict{}, postprocess{};
};

// Whether it went on to the end.
bool spend(TimePoint start, Duration time, bool busy, const Call& call) {
  const TimePoint end = start + time;
  if (!busy) {
    return time == Duration::zero() || call.token.sleepUntil(end);
  }
  while (now() < end) {
    if (call.token.cancelled()) {
      return false;
    }
  }
  return true;
}

std::unexpected<runtime::ModelError> gaveUp() {
  return modelFailure(ErrorKind::kCancelled, "cancelled");
}

double seconds(TimePoint time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

std::string spanJson(const Span& span) {
  return fmt::format(R"({{"start":{:.6f},"end":{:.6f}}})", seconds(span.start), seconds(span.end));
}

std::string requestJson(const StagesState& state, const Call& call) {
  if (!state.request.echo_json.empty()) {
    return state.request.echo_json;
  }
  std::string json;
  if (call.request_id.empty()) {
    json = "null";
  } else {
    appendJsonString(json, call.request_id);
  }
  return json;
}

class StagesModel final : public runtime::Model {
 public:
  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call& call) override {
    const TimePoint start = now();
    auto state = std::make_unique<StagesState>(in_replica_);
    auto request = parseStagesRequest(input.body);
    if (!request.has_value()) {
      return std::unexpected(std::move(request.error()));
    }
    state->request = std::move(*request);
    state->preprocess.start = start;
    if (!spend(start, state->request.preprocess, state->request.busy, call)) {
      return gaveUp();
    }
    state->preprocess.end = now();
    return state;
  }

  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> state, const Call& call,
                                              std::size_t /*lane*/) override {
    auto& mine = static_cast<StagesState&>(*state);
    const Present in_predict(in_predict_);
    mine.predict.start = now();
    mine.predict_in_flight = in_predict.number();
    if (!spend(mine.predict.start, mine.request.predict, mine.request.busy, call)) {
      return gaveUp();
    }
    mine.predict.end = now();
    return state;
  }

  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call& call) override {
    auto& mine = static_cast<StagesState&>(*state);
    mine.postprocess.start = now();
    if (!spend(mine.postprocess.start, mine.request.postprocess, mine.request.busy, call)) {
      return gaveUp();
    }
    mine.postprocess.end = now();
    return Output{.content_type = "application/json", .body = answer(mine, call)};
  }

 private:
  static std::string answer(const StagesState& state, const Call& call) {
    return fmt::format(R"({{"request":{},"replica_in_flight":{},"predict_in_flight":{},)"
                       R"("stages":{{"preprocess":{},"predict":{},"postprocess":{}}}}})",
                       requestJson(state, call), state.in_replica.number(), state.predict_in_flight,
                       spanJson(state.preprocess), spanJson(state.predict),
                       spanJson(state.postprocess));
  }

  std::atomic<int> in_replica_ = 0;
  std::atomic<int> in_predict_ = 0;
};

}  // namespace
}  // namespace penstock::examples

PENSTOCK_MODEL(penstock::examples::StagesModel);
