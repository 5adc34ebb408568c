#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "model_runtime/model.h"

namespace penstock::runtime {

// A model whose predict is work that a device runs by itself: launched, waited for, collected.
//
//   … ▶ stage(state) ▶ launch(state) ▶ the device runs it ▶ finish(state) ▶ collect(state) ▶ …
//
// The permit covers the device's work: it comes back when finish() returns. With run_ahead: 1 (in
// the section penstock of config.yaml; predict concurrency 1) the next request is launched while
// the one before still runs, so that the device goes from one to the other without waiting for the
// host: launch() must put its work behind what the lane's stream has already. What has been
// launched runs to its end, whether or not anybody still wants it.
class LaunchingModel : public Model {
 public:
  // What needs the device but no lane, above all the upload of the input, so that launch() has only
  // kernels to enqueue. Called for a request that is next in line while others are in predict; not
  // for one that gets a lane at once, and not with run-ahead, so launch() does whatever was not
  // done. Up to a request for each lane are staged and not launched. An error is the request's.
  virtual ModelResult<void> stage(State& /*state*/, const Call& /*call*/) { return {}; }

  // Enqueues the request's work on the lane, in the order of the requests, and returns without
  // waiting for it. Never two calls at once with the same lane. After an error there is nothing to
  // wait for, and finish() is not called.
  virtual ModelResult<void> launch(State& state, const Call& call, std::size_t lane) = 0;

  // Sleeps until that work has ended; in the order of the launches. With run-ahead beside the next
  // launch() of the lane, on another thread.
  virtual ModelResult<void> finish(State& state, const Call& call, std::size_t lane) = 0;

  // Brings the result to the host and gives back what is held on the device. Holds no lane; one
  // request at a time, in order. Not called for a request that was cancelled: its state is
  // destroyed instead.
  virtual ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state,
                                                      const Call& /*call*/) {
    return state;
  }

  LaunchingModel* launching() final { return this; }
  ModelResult<std::unique_ptr<State>> predict(std::unique_ptr<State> /*state*/,
                                              const Call& /*call*/, std::size_t /*lane*/) final {
    return modelFailure(ErrorKind::kInternal, "a launching model has its predict in parts");
  }
};

}  // namespace penstock::runtime
