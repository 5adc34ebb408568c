#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "model_runtime/intrusive_list.h"
#include "model_runtime/predict_gate.h"
#include "model_runtime/python/python_runtime.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"

namespace penstock::runtime {

// A link of its own, so that a request can wait for preprocess in one list while it is also a
// gate's waiter.
class PythonRuntime::Queued : private ListLink {
  friend class IntrusiveList<Queued>;
};

// One request inside the Python runtime.
struct PythonRuntime::Request final : PredictGate::Waiter, Queued {
  enum class State : std::uint8_t {
    kQueued,      // waits here for its turn in preprocess
    kPreparing,   // the worker decodes its body and runs preprocess
    kWaiting,     // in the gate's queue
    kGranted,     // has a permit; predict has not begun
    kPredicting,  // has a permit
    kLeaving,     // nothing is left but the worker's last word: postprocess, or the end
    kEnded,       // the listener is about to hear of it
  };

  Request(PythonRuntime& the_runtime, Id the_id, Submission the_submission, Listener& the_listener)
      : runtime(the_runtime),
        id(the_id),
        submission(std::move(the_submission)),
        listener(the_listener),
        due(runtime.loop_, [this] { runtime.onDue(*this); }) {}

  // Whether the model has, or may have, run some of its code for it.
  bool touched() const {
    return begun || (preprocesses && state != State::kQueued && (sent || state != State::kWaiting));
  }

  // at: when, if that was not now.
  void enter(State next, std::optional<TimePoint> at = std::nullopt);

  PythonRuntime& runtime;
  const Id id;
  Submission submission;    // its body stays until predict has begun, in case the worker dies
  net::UniqueFd body_file;  // in place of a large body, until it is sent
  Listener& listener;
  net::Timer due;                     // its deadline, or the gate's timeout if that is earlier
  std::optional<net::Timer> stalled;  // since a chunk came or was consumed

  State state = State::kQueued;
  LaneIdle::Position position;
  bool preprocesses = false;         // the model has a preprocess for it
  bool prepared = false;             // READY has come
  bool sent = false;                 // this worker knows it
  int sent_to = 0;                   // so many workers
  std::uint64_t allowed_number = 0;  // in the order of permission to run predict; 0: not allowed
  bool begun = false;                // predict has
  bool streaming = false;            // its response, or its WebSocket, has begun
  bool hangs = false;                // its deadline has passed, and the next time ends the worker
  std::optional<End> end_as;         // it was stopped, and CANCEL sent
  std::optional<PredictGate::Permit> permit;
  TimePoint stage_began{};
  std::size_t owed_credit = 0;
};

}  // namespace penstock::runtime
