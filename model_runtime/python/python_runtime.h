#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/deadline.h"
#include "base/log.h"
#include "base/metrics.h"
#include "model_runtime/intrusive_list.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/outcome.h"
#include "model_runtime/predict_gate.h"
#include "model_runtime/python/worker.h"
#include "model_runtime/runtime_metrics.h"
#include "net/event_loop.h"

namespace penstock::runtime {

// What a model can be asked for; the numbers are PROTOCOL.md's.
enum class Operation : std::uint8_t {
  kPredict = 0,
  kChatCompletions = 1,
  kCompletions = 2,
  kEmbeddings = 3,
  kMessages = 4,
  kResponses = 5,
  kWebSocket = 6,
};
// The name of the model's method.
std::string_view toString(Operation operation);

// Runs requests through a Python model in a worker process (PROTOCOL.md), every operation through
// one predict gate. The gate announces the next few requests to the worker, which goes straight on
// from one predict to the next.
//
// Each submitted request ends once: by onResponse or onEnd. A worker that ends takes with it only
// what it had begun; the rest goes to the next worker, which is started after a back-off. A request
// whose work goes on long after its deadline ends the worker.
//
// One thread, the loop's; a listener hears nothing inside a call that it makes itself.
class PythonRuntime final : private PredictGate::Handler, private Worker::Owner {
 public:
  using Id = std::uint64_t;
  using Fields = std::vector<std::pair<std::string, std::string>>;

  struct Options {
    Worker::Options worker{};
    std::size_t predict_concurrency = 1;
    std::size_t preprocess_threads = 32;  // sync preprocesses at a time
    std::size_t max_in_flight = 1000;     // submitted and not ended
    std::size_t max_waiting = 1000;       // of those, waiting for predict
    Duration gate_timeout = std::chrono::seconds(600);
    std::size_t stream_buffer = 1 << 20;  // bytes of a response that its listener has not consumed
    std::size_t max_response_body = std::size_t{1} << 30;
    Duration chunk_timeout = std::chrono::seconds(60);  // from one chunk of a stream to the next
    Duration hang_timeout = std::chrono::seconds(30);  // after a deadline; then the worker is ended
    Duration restart_back_off = std::chrono::seconds(1);  // doubles up to the next
    Duration longest_back_off = std::chrono::seconds(30);
  };

  struct Submission {
    Operation operation = Operation::kPredict;
    bool msgpack = false;      // the body's format; else JSON
    bool gather = false;       // a generator's chunks as one JSON string
    std::string request_json;  // "meta" of PROTOCOL.md
    std::string body;
    std::string request_id;
    Deadline deadline = Deadline::never();
  };
  enum class Refusal { kFull, kDraining, kNotReady };

  // How a request ended that has no response of its own.
  enum class End : std::uint8_t {
    kFinished,  // its stream, to the end
    kAborted,   // its stream, before the end: the model failed
    kUnfit,     // what the model answered cannot be passed on
    kCancelled,
    kDeadlineExceeded,
    kStalled,      // its stream stood still for too long
    kGateFull,     // never in predict: too many waited
    kGateTimeout,  // never in predict: waited too long
    kWorkerLost,   // the worker ended while it ran
    kNotExecuted,  // the worker ended before it ran
  };

  class Listener {
   public:
    virtual ~Listener() = default;
    // The whole response; the last call.
    virtual void onResponse(int status, Fields fields, std::string body) = 0;
    // A response begins whose chunks follow; they are credited with consumed().
    virtual void onHead(int status, Fields fields) = 0;
    virtual void onChunk(std::string_view bytes) = 0;
    // No chunk came for too long. The work is cancelled, and may go on for a while: onEnd follows.
    virtual void onStalled() {}
    virtual void onEnd(End end) = 0;  // the last call
  };
  // Of a request with Operation::kWebSocket.
  class WebSocketListener : public Listener {
   public:
    // protocol: the chosen subprotocol, or empty.
    virtual void onAccept(std::string_view protocol, Fields fields) = 0;
    // A whole message; credited with consumed().
    virtual void onMessage(bool text, std::string_view message) = 0;
    // The model closes it, or refuses it if it was not accepted.
    virtual void onClose(std::uint16_t code, std::string_view reason) = 0;
    // So many bytes of messages sent to the model have been taken by it.
    virtual void onTaken(std::size_t bytes) = 0;
  };

  class Owner {
   public:
    virtual ~Owner() = default;
    // The model is loaded; called once.
    virtual void onModelReady() = 0;
    // The model could not be loaded the first time; called once, and nothing after it.
    virtual void onModelFailed(std::string_view why) = 0;
  };

  PythonRuntime(net::EventLoop& loop, Options options, Logger& log, Metrics& metrics, Owner& owner);
  // Kills the worker; the listeners of what runs hear nothing more.
  ~PythonRuntime() override;

  void start();
  // Refuses from now on; what was submitted goes on.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }
  // Lets the worker end, which nothing is asked of any more. stopped: once, when it has.
  void stop(std::move_only_function<void()> stopped);
  // The same without waiting.
  void kill();
  // A worker with a loaded model is there.
  bool ready() const { return ready_; }
  // Requests are taken: a worker is there, or on its way back. (WebSockets only while it is there.)
  bool takesRequests() const { return loaded_once_ && !draining_ && !stopping_; }
  // Known once the model has been loaded.
  bool offers(Operation operation) const { return operations_.contains(operation); }
  // The model's schema as JSON, or empty.
  const std::string& schema() const { return schema_; }

  // What is asked for is offered. listener: a WebSocketListener if it is a WebSocket.
  std::expected<Id, Refusal> submit(Submission submission, Listener& listener);
  void cancel(Id id);
  void consumed(Id id, std::size_t bytes);
  void sendMessage(Id id, bool text, std::string_view message);
  // The client's WebSocket has ended. code: 1006 if it just vanished.
  void clientClosed(Id id, std::uint16_t code, std::string_view reason);

  // Whether the model has a word to say about its health.
  bool asksHealth() const { return ready_ && asks_health_; }
  // Asks the model whether it is healthy; answers later, and false if it does not answer in time.
  // The worker has one question at a time: whoever asks meanwhile gets the answer to that.
  void checkHealth(std::move_only_function<void(bool)> answer);

  std::size_t inFlight() const { return requests_.size(); }
  PredictGate::Snapshot gate() const { return gate_.snapshot(); }
  // Of the lanes, until now.
  LaneIdle::Totals idle() const { return idle_lanes_.totals(loop_.clock().now()); }

 private:
  class Queued;
  struct Request;

  // The way of a request (python_runtime.cc).
  void prepare(Request& request);
  void prepareQueued();
  void enterGate(Request& request);
  void announce();
  void allow(Request& request);
  void transmit(Request& request, bool go);
  void onGrant(PredictGate::Grant grant) override;
  void onExpired(PredictGate::Waiter& waiter) override;
  void release(Request& request, TimePoint ended);
  void onDue(Request& request);
  void stop(Request& request, End end);
  void leave(Request& request, End end);
  // fault: PROTOCOL.md's outcome of a stream that ended.
  void finish(Request& request, End end, std::uint8_t fault = 0);
  void finishLater(Request& request, End end);
  void count(const Request& request, End end, std::uint8_t fault);
  std::unique_ptr<Request> take(Request& request);

  // What the worker says (python_runtime_frames.cc).
  std::string onWorkerFrame(Frame& frame) override;
  std::string onRequestFrame(Frame& frame, Request& request);
  std::string onReady(Request& request, PayloadReader payload);
  std::string onStarted(Request& request, PayloadReader payload);
  std::string onEnded(Request& request, PayloadReader payload);
  std::string onHead(Request& request, PayloadReader payload);
  std::string onChunk(Request& request, const Frame& frame);
  std::string onDone(Request& request, Frame& frame);
  std::string onWebSocketFrame(Request& request, Frame& frame);
  std::string onHealthy(const Frame& frame);
  std::string onResponse(Request& request, int status, std::uint8_t how,
                         std::optional<Fields> fields, Result<std::string> body);
  Result<std::string> bodyOf(Frame& frame, std::string_view rest) const;
  void giveUpUnfit(Request& request, std::string_view why);

  // The worker's life (python_runtime_worker.cc).
  void startWorker();
  std::string onLoaded(std::string_view payload) override;
  void onLoadFailed(std::string_view why) override;
  void onWorkerEnded(const std::string& how) override;
  void startWorkerLater();
  void fail(std::string_view why);
  void resume();
  void noteBegun();
  void loseRequests();

  net::EventLoop& loop_;
  const Options options_;
  Logger& log_;
  Owner& owner_;

  bool draining_ = false;
  bool ready_ = false;
  bool loaded_once_ = false;
  bool failed_ = false;
  bool stopping_ = false;
  std::move_only_function<void()> stopped_;
  std::set<Operation> operations_;
  bool has_preprocess_ = false;
  bool async_preprocess_ = false;
  bool asks_health_ = false;
  std::string schema_;

  PredictGate gate_;
  LaneIdle idle_lanes_;
  RuntimeMetrics metrics_;
  Counter restarts_;
  Id last_id_ = 0;
  std::unordered_map<Id, std::unique_ptr<Request>> requests_;
  IntrusiveList<Queued> to_prepare_;
  std::size_t preparing_ = 0;
  std::uint64_t last_allowed_ = 0;

  struct HealthCheck {
    std::move_only_function<void(bool)> answer;
    std::unique_ptr<net::Timer> timeout;
  };
  void answerHealth(Id id, bool healthy);
  Id last_check_ = 0;
  std::optional<Id> health_question_;  // which the worker has not answered
  std::unordered_map<Id, HealthCheck> checks_;

  std::unique_ptr<Worker> worker_;
  Duration back_off_;
  TimePoint ready_since_{};
  net::Timer restart_;
};

}  // namespace penstock::runtime
