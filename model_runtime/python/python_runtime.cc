#include "model_runtime/python/python_runtime.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <variant>

#include "base/check.h"
#include "model_runtime/python/body_file.h"
#include "model_runtime/python/python_request.h"

namespace penstock::runtime {
namespace {

// How many requests the worker may know to be next. More costs a longer way back when they are
// cancelled; fewer, idle lanes when predict takes less time than the way through the loop.
constexpr std::size_t kRunAhead = 16;
// PROTOCOL.md: why a request is cancelled.
enum class CancelReason : std::uint8_t {
  kClientGone = 1,
  kDeadline = 2,
  kShutdown = 3,
  kStall = 4
};

CancelReason reasonOf(PythonRuntime::End end) {
  switch (end) {
    case PythonRuntime::End::kCancelled:
    case PythonRuntime::End::kUnfit:
      return CancelReason::kClientGone;
    case PythonRuntime::End::kStalled:
      return CancelReason::kStall;
    default:
      return CancelReason::kDeadline;
  }
}

std::int64_t nanoseconds(Deadline deadline) {
  return deadline.isNever() ? 0 : deadline.when().time_since_epoch().count();
}

}  // namespace

std::string_view toString(Operation operation) {
  switch (operation) {
    case Operation::kPredict:
      return "predict";
    case Operation::kChatCompletions:
      return "chat_completions";
    case Operation::kCompletions:
      return "completions";
    case Operation::kEmbeddings:
      return "embeddings";
    case Operation::kMessages:
      return "messages";
    case Operation::kResponses:
      return "responses";
    case Operation::kWebSocket:
      return "websocket";
  }
  PENSTOCK_CHECK(false, "every operation has a name");
}

PythonRuntime::PythonRuntime(net::EventLoop& loop, Options options, Logger& log, Metrics& metrics,
                             Owner& owner)
    : loop_(loop),
      options_(std::move(options)),
      log_(log),
      owner_(owner),
      gate_(loop.clock(), *this,
            {.lanes = options_.predict_concurrency,
             .max_waiting = options_.max_waiting,
             .max_announced = kRunAhead}),
      idle_lanes_(options_.predict_concurrency, loop.clock().now()),
      metrics_(metrics, loop.clock(), gate_, idle_lanes_),
      restarts_(metrics.counter("penstock_worker_restarts_total",
                                "Times that the model's worker process was started again", {})),
      back_off_(options_.restart_back_off),
      restart_(loop, [this] { startWorker(); }) {
  metrics.callback("penstock_in_flight", "Requests accepted and not ended", {}, false,
                   [this] { return static_cast<double>(inFlight()); });
}

PythonRuntime::~PythonRuntime() {
  for (auto& [id, request] : requests_) {
    gate_.leave(*request);
  }
  // A permit that comes back finds nobody waiting.
  requests_.clear();
}

std::expected<PythonRuntime::Id, PythonRuntime::Refusal> PythonRuntime::submit(
    Submission submission, Listener& listener) {
  const bool can_wait = submission.operation != Operation::kWebSocket;
  const bool takes = ready_ || (takesRequests() && can_wait);
  if (draining_ || !takes || requests_.size() >= options_.max_in_flight) {
    metrics_.refused();
    return std::unexpected(draining_ ? Refusal::kDraining
                           : takes   ? Refusal::kFull
                                     : Refusal::kNotReady);
  }
  net::UniqueFd file;
  if (submission.body.size() > kMaxInlineBodyBytes) {
    Result<net::UniqueFd> written = writeBodyFile(submission.body);
    if (!written) {
      log_.error("a body cannot be passed to the worker", {{"why", written.error().message}});
      metrics_.refused();
      return std::unexpected(Refusal::kFull);
    }
    file = std::move(*written);
    submission.body = {};
  }
  const Id id = ++last_id_;
  auto made = std::make_unique<Request>(*this, id, std::move(submission), listener);
  Request& request = *requests_.emplace(id, std::move(made)).first->second;
  request.preprocesses = request.submission.operation == Operation::kPredict && has_preprocess_;
  request.stage_began = loop_.clock().now();
  request.body_file = std::move(file);
  request.due.arm(request.submission.deadline.when());
  // A large body is decoded before it may take a lane.
  if (request.preprocesses || request.body_file.valid()) {
    prepare(request);
  } else {
    enterGate(request);
  }
  return id;
}

void PythonRuntime::Request::enter(State next, std::optional<TimePoint> at) {
  state = next;
  auto place = LaneIdle::Place::kNowhere;
  switch (next) {
    case State::kQueued:
    case State::kPreparing:
      place = LaneIdle::Place::kPreprocess;
      break;
    case State::kWaiting:
    case State::kGranted:
      place = LaneIdle::Place::kReady;
      break;
    case State::kPredicting:
      place = LaneIdle::Place::kPredict;
      break;
    case State::kLeaving:
    case State::kEnded:
      break;
  }
  runtime.idle_lanes_.move(position, place, at.value_or(runtime.loop_.clock().now()));
}

void PythonRuntime::prepare(Request& request) {
  request.enter(Request::State::kQueued);
  to_prepare_.pushBack(request);
  prepareQueued();
}

void PythonRuntime::prepareQueued() {
  const std::size_t limit =
      async_preprocess_ ? std::numeric_limits<std::size_t>::max() : options_.preprocess_threads;
  while (ready_ && preparing_ < limit && !to_prepare_.empty()) {
    Request& request = static_cast<Request&>(*to_prepare_.popFront());
    request.enter(Request::State::kPreparing);
    ++preparing_;
    transmit(request, false);
  }
}

void PythonRuntime::enterGate(Request& request) {
  const TimePoint now = loop_.clock().now();
  request.enter(Request::State::kWaiting);
  request.stage_began = now;
  const Deadline give_up =
      std::min(request.submission.deadline, Deadline::after(now, options_.gate_timeout));
  auto admission = gate_.enter(request, give_up);
  if (auto* permit = std::get_if<PredictGate::Permit>(&admission)) {
    onGrant({&request, std::move(*permit)});
  } else if (auto* refusal = std::get_if<PredictGate::Refusal>(&admission)) {
    leave(request,
          *refusal == PredictGate::Refusal::kFull ? End::kGateFull : End::kDeadlineExceeded);
  } else {
    request.due.arm(give_up.when());
    announce();
  }
}

void PythonRuntime::announce() {
  while (PredictGate::Waiter* next = gate_.announceNext()) {
    allow(static_cast<Request&>(*next));
  }
}

void PythonRuntime::onGrant(PredictGate::Grant grant) {
  Request& request = static_cast<Request&>(*grant.waiter);
  request.permit = std::move(grant.permit);
  request.enter(Request::State::kGranted);
  if (!request.end_as.has_value()) {
    request.due.arm(request.submission.deadline.when());
  }
  if (request.allowed_number == 0) {
    allow(request);
  }
}

void PythonRuntime::onExpired(PredictGate::Waiter& waiter) {
  Request& request = static_cast<Request&>(waiter);
  leave(request, request.submission.deadline.passed(loop_.clock().now()) ? End::kDeadlineExceeded
                                                                         : End::kGateTimeout);
}

// While there is no worker, the next one is told.
void PythonRuntime::allow(Request& request) {
  request.allowed_number = ++last_allowed_;
  if (!ready_) {
    return;
  }
  if (request.sent) {
    FrameWriter(worker_->channel().out(), FrameType::kPredict, request.id);
  } else {
    transmit(request, true);
  }
}

void PythonRuntime::transmit(Request& request, bool go) {
  request.sent = true;
  ++request.sent_to;
  const Submission& submission = request.submission;
  const auto flags =
      static_cast<std::uint8_t>((go ? kFlagGo : 0) | (submission.gather ? kFlagGather : 0) |
                                (request.body_file.valid() ? kFlagDescriptor : 0));
  Channel& channel = worker_->channel();
  FrameWriter frame(
      request.body_file.valid() ? channel.out(std::move(request.body_file)) : channel.out(),
      FrameType::kInvoke, request.id, flags);
  frame.put(static_cast<std::uint8_t>(submission.operation))
      .put(static_cast<std::uint8_t>(submission.msgpack ? 1 : 0))
      .put(std::uint16_t{0})
      .put(nanoseconds(submission.deadline))
      .put(static_cast<std::uint32_t>(submission.request_json.size()))
      .put(submission.request_json)
      .put(submission.body);
}

// Gives the request's lane to the next.
void PythonRuntime::release(Request& request, TimePoint ended) {
  PredictGate::Permit permit = std::move(*request.permit);
  request.permit.reset();
  if (auto grant = gate_.handOver(std::move(permit), ended)) {
    onGrant(std::move(*grant));
  }
  announce();
}

void PythonRuntime::onDue(Request& request) {
  const TimePoint now = loop_.clock().now();
  if (request.hangs) {
    log_.error("a request runs long after its deadline: its worker is ended",
               {{"request_id", request.submission.request_id}, {"pid", worker_->pid()}});
    worker_->kill();
    return;
  }
  if (!request.submission.deadline.passed(now)) {
    stop(request, End::kGateTimeout);
    return;
  }
  stop(request, End::kDeadlineExceeded);
  if (request.state != Request::State::kEnded) {
    request.hangs = true;
    request.due.arm(now + options_.hang_timeout);
  }
}

void PythonRuntime::cancel(Id id) {
  const auto at = requests_.find(id);
  if (at != requests_.end() && !at->second->end_as.has_value()) {
    stop(*at->second, End::kCancelled);
  }
}

// Ends it at once where only this process knows of it; else the worker is told, and has the last
// word.
void PythonRuntime::stop(Request& request, End end) {
  if (request.end_as.has_value() || request.state == Request::State::kEnded) {
    return;
  }
  if (request.state == Request::State::kQueued) {
    to_prepare_.remove(request);
    finishLater(request, end);
  } else if (request.state == Request::State::kWaiting && request.allowed_number == 0) {
    gate_.leave(request);
    announce();
    leave(request, end);
  } else if (ready_ && request.sent) {
    request.end_as = end;
    FrameWriter(worker_->channel().out(), FrameType::kCancel, request.id)
        .put(static_cast<std::uint8_t>(reasonOf(end)));
  } else {
    // It waits for the next worker.
    if (request.state == Request::State::kWaiting) {
      gate_.leave(request);
    } else if (request.permit.has_value()) {
      release(request, loop_.clock().now());
    }
    announce();
    finishLater(request, end);
  }
}

// It is in no queue.
void PythonRuntime::leave(Request& request, End end) {
  request.enter(Request::State::kLeaving);
  if (request.sent) {
    stop(request, end);
  } else {
    finishLater(request, end);
  }
}

void PythonRuntime::finishLater(Request& request, End end) {
  request.enter(Request::State::kEnded);
  request.due.disarm();
  loop_.post([this, id = request.id, end] {
    if (const auto at = requests_.find(id); at != requests_.end()) {
      finish(*at->second, end);
    }
  });
}

std::unique_ptr<PythonRuntime::Request> PythonRuntime::take(Request& request) {
  request.enter(Request::State::kEnded);
  auto node = requests_.extract(request.id);
  return std::move(node.mapped());
}

void PythonRuntime::finish(Request& request, End end, std::uint8_t fault) {
  count(request, end, fault);
  std::unique_ptr<Request> owned = take(request);
  owned->listener.onEnd(end);
  loop_.destroyLater(std::move(owned));
}

void PythonRuntime::count(const Request& request, End end, std::uint8_t fault) {
  using Kind = Outcome::Kind;
  Outcome outcome;
  const bool was_ready = request.prepared || !request.preprocesses;
  outcome.stage = request.begun ? Stage::kPostprocess
                  : was_ready   ? Stage::kGate
                                : Stage::kPreprocess;
  switch (end) {
    case End::kFinished:
      outcome.kind = fault == 0 ? Kind::kSucceeded : Kind::kModelError;
      outcome.error.kind = fault == 1 ? ErrorKind::kBadInput : ErrorKind::kInternal;
      break;
    case End::kAborted:
    case End::kUnfit:
    case End::kWorkerLost:
    case End::kNotExecuted:
      outcome.kind = Kind::kModelError;
      break;
    case End::kCancelled:
    case End::kStalled:
      outcome.kind = Kind::kCancelled;
      break;
    case End::kDeadlineExceeded:
      outcome.kind = Kind::kDeadlineExceeded;
      break;
    case End::kGateFull:
      outcome.kind = Kind::kGateFull;
      break;
    case End::kGateTimeout:
      outcome.kind = Kind::kGateTimeout;
      break;
  }
  metrics_.ended(outcome);
}

void PythonRuntime::consumed(Id id, std::size_t bytes) {
  const auto at = requests_.find(id);
  if (at == requests_.end() || !ready_) {
    return;
  }
  Request& request = *at->second;
  request.owed_credit += bytes;
  if (request.stalled.has_value()) {
    request.stalled->armAfter(options_.chunk_timeout);
  }
  // Often enough that the worker never waits for it with less than half of the buffer taken; at
  // once for messages, any of which may need all of the buffer.
  const bool at_once = request.submission.operation == Operation::kWebSocket;
  if (at_once || request.owed_credit >= options_.stream_buffer / 4) {
    FrameWriter(worker_->channel().out(), FrameType::kCredit, id)
        .put(static_cast<std::uint32_t>(std::exchange(request.owed_credit, 0)));
  }
}

void PythonRuntime::sendMessage(Id id, bool text, std::string_view message) {
  if (!ready_ || !requests_.contains(id)) {
    return;
  }
  net::UniqueFd file;
  if (message.size() > kMaxInlineBodyBytes) {
    Result<net::UniqueFd> written = writeBodyFile(message);
    if (!written) {
      log_.error("a message cannot be passed to the worker", {{"why", written.error().message}});
      cancel(id);
      return;
    }
    file = std::move(*written);
  }
  const bool in_file = file.valid();
  Channel& channel = worker_->channel();
  FrameWriter frame(in_file ? channel.out(std::move(file)) : channel.out(), FrameType::kMessage, id,
                    in_file ? kFlagDescriptor : std::uint8_t{0});
  frame.put(static_cast<std::uint8_t>(text ? 1 : 2));
  if (!in_file) {
    frame.put(message);
  }
}

void PythonRuntime::clientClosed(Id id, std::uint16_t code, std::string_view reason) {
  if (ready_ && requests_.contains(id)) {
    FrameWriter(worker_->channel().out(), FrameType::kClosed, id).put(code).put(reason);
  }
}

}  // namespace penstock::runtime
