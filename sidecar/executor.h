#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/deadline.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/predict_gate.h"
#include "net/address.h"
#include "net/http/headers.h"
#include "sidecar/error_style.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

// The two ends of the connection that a request came on.
struct Ends {
  net::Address client;
  net::Address server;
};

// One request, for an executor.
struct Work {
  http::RequestHead head;
  std::string body;  // whole, unless the executor asked for Intake::kStreamed
  std::string request_id;
  std::optional<Ends> ends = {};  // for executors that tell the model
  Deadline deadline = Deadline::never();
};

// How an executor wants a request.
enum class Intake {
  kWhole,     // submit() when its body is complete
  kStreamed,  // submit() at once; the body follows by sendData()
};

// Where requests are run: a native model, a Python worker, a model server behind this sidecar. It
// knows its paths, has the predict gate, and bounds how much it takes. An exchange asks intake(),
// then submits, then hears through its listener how the request ends, exactly once.
//
// One thread, the loop's, for calls and for what listeners hear; a listener hears nothing inside a
// call that it makes itself.
class Executor {
 public:
  using Id = std::uint64_t;

  class Owner {
   public:
    virtual ~Owner() = default;
    // Requests are taken from now on. Called once.
    virtual void onExecutorReady() = 0;
    // It will never take any (again), and nothing runs: the process is to end.
    virtual void onExecutorFailed(std::string_view why) = 0;
  };

  // Lives until its request has ended: by onReply, onFinished or onAborted.
  class Listener {
   public:
    virtual ~Listener() = default;
    // The whole response.
    virtual void onReply(Reply reply) = 0;
    // A response of which the rest follows.
    virtual void onHead(http::ResponseHead head) = 0;
    // To be credited with Executor::consumed().
    virtual void onData(std::string_view data) = 0;
    virtual void onFinished(const http::Headers& trailers) = 0;
    // The response ends here, before its end, and why.
    virtual void onAborted(Refusal why) = 0;
    // The response ends here too, though its work does not yet: how the request ends still follows.
    virtual void onGivenUp(Refusal why) = 0;
    // kStreamed: so many bytes of the request's body are dealt with.
    virtual void onConsumed(std::size_t bytes) = 0;
    // kStreamed: so many bytes are kept for it, until release() or its end. False: with them too
    // many would be kept for all requests, and they are not counted.
    virtual bool hold(std::size_t bytes) = 0;
    virtual void release(std::size_t bytes) = 0;
  };

  virtual ~Executor() = default;

  // Begins to load; the owner hears how that went.
  virtual void start() = 0;
  // Takes nothing new from now on; what was submitted goes on.
  virtual void drain() = 0;
  // Why nothing would be taken now, if so.
  virtual std::optional<Refusal> unready() const = 0;
  // Whether the model itself is to be asked when unready() knows no reason. If so: answer is called
  // once, later than from here and in bounded time, or never if this is destroyed before.
  virtual bool asksHealth() const { return false; }
  virtual void askHealth(std::move_only_function<void(bool healthy)>) {}
  // False: only a new start of this process can help.
  virtual bool live() const { return true; }

  // In which form errors are told to whoever sends that.
  virtual ErrorStyle errorStyle(const http::RequestHead&) const { return ErrorStyle::kOwn; }
  // Whether and how the request is to be submitted, or the answer to it.
  virtual std::expected<Intake, Reply> intake(const http::RequestHead& head) = 0;
  // Refused: the listener hears nothing.
  virtual std::expected<Id, Reply> submit(Work work, Listener& listener) = 0;
  // Nobody wants the result any more. The request ends when its work has ended.
  virtual void cancel(Id id) = 0;
  // kStreamed only.
  virtual void sendData(Id id, std::span<const std::uint8_t> data, bool end) = 0;
  // So many bytes of onData() have been passed on.
  virtual void consumed(Id id, std::size_t bytes) = 0;

  // Submitted and not ended.
  virtual std::size_t inFlight() const = 0;
  virtual runtime::PredictGate::Snapshot gate() const { return {}; }
  // Why its lanes stood idle; nothing while it has none.
  virtual std::optional<runtime::LaneIdle::Totals> idle() const { return std::nullopt; }

  // This process is about to end: asks the processes that it has started to end too. Nothing is
  // submitted any more. stopped: once, when they have; maybe at once.
  virtual void stop(std::move_only_function<void()> stopped) { stopped(); }
  // The same without asking or waiting, also after stop().
  virtual void kill() {}
  // After stop(): whether one of them was killed before it had ended by itself.
  virtual bool wasCut() const { return false; }
};

}  // namespace penstock::sidecar
