#include "sidecar/upstream/upstream_call.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>
#include <variant>

#include "net/buffer.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {
namespace {

using runtime::LaneIdle;
using runtime::Outcome;
using runtime::PredictGate;

constexpr std::size_t kPiece = 64 * 1024;
// Of a response that its client does not read; while that suffices, the permit comes back.
constexpr std::size_t kResponseBuffer = 1024 * 1024;
constexpr std::size_t kHighWatermark = http::Stream::kDefaultHighWatermark;

Outcome outcomeOf(Refusal why, runtime::Stage stage) {
  Outcome outcome{.kind = Outcome::Kind::kModelError, .stage = stage, .output = {}, .error = {}};
  switch (why) {
    case Refusal::kCancelled:
      outcome.kind = Outcome::Kind::kCancelled;
      break;
    case Refusal::kDeadlineExceeded:
      outcome.kind = Outcome::Kind::kDeadlineExceeded;
      break;
    case Refusal::kGateTimeout:
      outcome.kind = Outcome::Kind::kGateTimeout;
      break;
    case Refusal::kOverloaded:
      outcome.kind = Outcome::Kind::kGateFull;
      break;
    default:
      outcome.error.kind = runtime::ErrorKind::kInternal;
  }
  return outcome;
}

Outcome outcomeOf(int status) {
  Outcome outcome{.kind = Outcome::Kind::kSucceeded,
                  .stage = runtime::Stage::kPredict,
                  .output = {},
                  .error = {}};
  if (status >= 400) {
    outcome.kind = Outcome::Kind::kModelError;
    outcome.error.kind =
        status < 500 ? runtime::ErrorKind::kBadInput : runtime::ErrorKind::kInternal;
  }
  return outcome;
}

}  // namespace

UpstreamCall::UpstreamCall(Shared& shared, Executor::Id id, Work work, Forwarding forwarding,
                           Executor::Listener& listener)
    : shared_(shared),
      id_(id),
      work_(std::move(work)),
      forwarding_(std::move(forwarding)),
      listener_(listener),
      timer_(shared.loop, [this] { onTimer(); }),
      body_ended_(!forwarding_.streamed),
      credit_(shared.loop, [this] { creditRequest(); }) {
  prepareHead();
}

UpstreamCall::~UpstreamCall() {
  leaveGate();
  shared_.away.leave(id_);
  resetStream(http::ResetReason::kCancel);
}

void UpstreamCall::prepareHead() {
  http::RequestHead& head = work_.head;
  if (!head.headers.has("x-penstock-attempt-id")) {
    patience_ = shared_.model.reconnect_timeout;
  }
  head.path = forwarding_.path;
  head.headers.remove("x-penstock-attempt-id");
  head.headers.set("x-request-id", work_.request_id);
  if (!forwarding_.streamed && (!work_.body.empty() || head.content_length.has_value())) {
    head.content_length = work_.body.size();
  }
}

std::optional<Refusal> UpstreamCall::start() {
  const TimePoint now = shared_.loop.clock().now();
  since_ = now;
  if (!forwarding_.gated) {
    connect();
    return std::nullopt;
  }
  const Deadline until = std::min(work_.deadline, Deadline::after(now, shared_.gate_timeout));
  auto admission = shared_.gate.enter(*this, until);
  if (const auto* refusal = std::get_if<PredictGate::Refusal>(&admission)) {
    const Refusal why =
        *refusal == PredictGate::Refusal::kFull ? Refusal::kOverloaded : Refusal::kDeadlineExceeded;
    shared_.metrics.ended(outcomeOf(why, runtime::Stage::kGate));
    return why;
  }
  shared_.idle_lanes.move(position_, LaneIdle::Place::kReady, now);
  if (auto* permit = std::get_if<PredictGate::Permit>(&admission)) {
    onGrant(std::move(*permit));
  } else {
    timer_.arm(until.when());
  }
  return std::nullopt;
}

void UpstreamCall::onGrant(PredictGate::Permit permit) {
  permit_ = std::move(permit);
  shared_.metrics.stageTook(runtime::Stage::kGate, shared_.loop.clock().now() - since_);
  connect();
}

void UpstreamCall::connect() {
  state_ = State::kConnecting;
  timer_.arm(work_.deadline.when());
  shared_.pool.wait(*this);
}

void UpstreamCall::onConnectFailed(net::CloseReason, std::string_view why) {
  awaitServer(why);
}

void UpstreamCall::awaitServer(std::string_view why) {
  const TimePoint now = shared_.loop.now();
  if (patience_.has_value() && !give_up_.has_value()) {
    give_up_ = Deadline::after(now, *patience_);
  }
  if (!give_up_.has_value() || give_up_->passed(now)) {
    shared_.log.warning("the model server cannot be connected to",
                        {{"request_id", std::string_view(work_.request_id)}, {"why", why}});
    refuse(Refusal::kServerUnreachable);
    return;
  }
  if (shared_.away.empty()) {
    shared_.log.warning("waiting for the model server",
                        {{"request_id", std::string_view(work_.request_id)}, {"why", why}});
  }
  state_ = State::kConnecting;
  timer_.arm(std::min(work_.deadline, *give_up_).when());
  if (!shared_.away.wait(id_, *this)) {
    refuse(Refusal::kServerUnreachable);
  }
}

void UpstreamCall::stopConnecting() {
  stopWaiting();
  shared_.away.leave(id_);
}

void UpstreamCall::onNoStream() {
  refuse(Refusal::kServerUnreachable);
}

void UpstreamCall::onConnection(http::ClientConnection& connection) {
  if (work_.head.isWebSocket() && !connection.takesWebSockets()) {
    endLater(Refusal::kNotImplemented);
    return;
  }
  state_ = State::kRunning;
  timer_.arm(work_.deadline.when());
  shared_.away.onConnected();
  protocol_ = connection.protocol();
  stream_ = &connection.newStream(*this);
  const TimePoint now = shared_.loop.clock().now();
  if (permit_.has_value() && !std::exchange(begun_, true)) {
    shared_.metrics.gap(permit_->begin(now));
    shared_.idle_lanes.move(position_, LaneIdle::Place::kPredict, now);
    since_ = now;
  }
  if (!work_.deadline.isNever()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(work_.deadline.remaining(now)).count();
    work_.head.headers.set("x-request-timeout-ms", std::to_string(left));
  }
  stream_->sendHead(work_.head, body_ended_ && work_.body.empty());
  if (!forwarding_.streamed) {
    sendMore();
  } else if (!work_.body.empty()) {
    uncredited_ += work_.body.size();
    net::Buffer early;
    early.take(std::exchange(work_.body, {}));
    stream_->sendData(early, body_ended_);
    credit_.schedule();
  }
}

// Piece by piece, so that what may have to be sent again is not held twice.
void UpstreamCall::sendMore() {
  while (sent_ < work_.body.size() && stream_->unsentBytes() <= kHighWatermark) {
    const std::string_view piece = std::string_view(work_.body).substr(sent_, kPiece);
    sent_ += piece.size();
    net::Buffer buffer;
    buffer.append(piece);
    stream_->sendData(buffer, sent_ == work_.body.size());
  }
}

void UpstreamCall::sendData(std::span<const std::uint8_t> data, bool end) {
  if (abandoned_.has_value() || response_ended_) {
    return;
  }
  body_ended_ = body_ended_ || end;
  if (stream_ == nullptr) {
    // Bounded by the client's window, which opens with what is credited.
    work_.body.append(reinterpret_cast<const char*>(data.data()), data.size());
    return;
  }
  net::Buffer buffer;
  buffer.append(data);
  uncredited_ += data.size();
  stream_->sendData(buffer, end);
  credit_.schedule();
}

void UpstreamCall::creditRequest() {
  if (stream_ != nullptr && !abandoned_.has_value() && uncredited_ > 0 &&
      stream_->unsentBytes() <= kHighWatermark) {
    listener_.onConsumed(std::exchange(uncredited_, 0));
  }
}

void UpstreamCall::onSendReady() {
  if (forwarding_.streamed) {
    creditRequest();
  } else {
    sendMore();
  }
}

bool UpstreamCall::requestSent() const {
  return body_ended_ && (forwarding_.streamed || sent_ == work_.body.size()) &&
         stream_->unsentBytes() == 0;
}

void UpstreamCall::onResponseHead(http::ResponseHead head, bool end_stream) {
  // A response that nobody wants any more is not begun: the reply says why.
  head_seen_ = !abandoned_.has_value();
  status_ = head.status;
  if (!head.headers.has("x-request-id")) {
    head.headers.add("x-request-id", work_.request_id);
  }
  if (end_stream) {
    whole_ = std::move(head);
    responseEnded();
  } else if (!abandoned_.has_value()) {
    listener_.onHead(std::move(head));
  }
}

void UpstreamCall::onData(std::span<const std::uint8_t> data, bool end_stream) {
  if (abandoned_.has_value()) {
    stream_->consume(data.size());
  } else if (!data.empty()) {
    unread_ += data.size();
    unconsumed_ += data.size();
    listener_.onData(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
    openWindow();
  }
  if (end_stream) {
    responseEnded();
  }
}

void UpstreamCall::onTrailers(http::Headers trailers) {
  trailers_ = std::move(trailers);
  responseEnded();
}

void UpstreamCall::consumed(std::size_t bytes) {
  unread_ -= bytes;
  if (!abandoned_.has_value()) {
    openWindow();
  }
}

void UpstreamCall::openWindow() {
  if (stream_ != nullptr && unread_ <= kResponseBuffer) {
    stream_->consume(std::exchange(unconsumed_, 0));
  }
}

// A server that has said all it has to say need not hear the rest of the request.
void UpstreamCall::responseEnded() {
  response_ended_ = true;
  if (!requestSent()) {
    resetStream(http::ResetReason::kNoError);
    onEnd(http::StreamEnd::kComplete);
  }
}

void UpstreamCall::onEnd(http::StreamEnd end) {
  stream_ = nullptr;
  if (abandoned_.has_value()) {
    refuse(*abandoned_);
  } else if (response_ended_) {
    succeed();
  } else {
    failed(end);
  }
}

void UpstreamCall::failed(http::StreamEnd end) {
  // The server has not seen it, as when it closed an idle connection in this moment.
  const bool repeatable = work_.head.method == "GET" || work_.head.method == "HEAD";
  const bool unseen = !head_seen_ && (end == http::StreamEnd::kRefused ||
                                      (end == http::StreamEnd::kUnanswered && repeatable));
  const bool reset = end == http::StreamEnd::kPeerReset && protocol_ == http::Protocol::kHttp2;
  if (unseen && !forwarding_.streamed && !std::exchange(retried_, true)) {
    sent_ = 0;
    connect();
  } else if (unseen) {
    refuse(Refusal::kServerUnreachable);
  } else if (end == http::StreamEnd::kTooLarge) {
    refuse(Refusal::kHeadersTooLarge);
  } else {
    refuse(end == http::StreamEnd::kProtocolError ? Refusal::kServerProtocolError
           : reset                                ? Refusal::kServerReset
                                                  : Refusal::kServerConnectionLost);
  }
}

void UpstreamCall::onTimer() {
  switch (state_) {
    case State::kAtGate:
      leaveGate();
      refuse(work_.deadline.passed(shared_.loop.clock().now()) ? Refusal::kDeadlineExceeded
                                                               : Refusal::kGateTimeout);
      return;
    case State::kConnecting:
      if (work_.deadline.passed(shared_.loop.clock().now())) {
        refuse(Refusal::kDeadlineExceeded);
      } else {
        awaitServer("it was waited for");
      }
      return;
    case State::kRunning:
      if (abandoned_.has_value()) {
        shared_.log.error("the model server has not ended a request long after its deadline",
                          {{"request_id", std::string_view(work_.request_id)}});
        resetStream(http::ResetReason::kCancel);
        refuse(*abandoned_);
      } else {
        abandon(Refusal::kDeadlineExceeded);
      }
      return;
    case State::kEnding:
      refuse(*abandoned_);
      return;
  }
}

void UpstreamCall::cancel() {
  if (abandoned_.has_value()) {
    return;
  }
  if (state_ == State::kRunning) {
    abandon(Refusal::kCancelled);
  } else {
    leaveGate();
    endLater(Refusal::kCancelled);
  }
}

void UpstreamCall::abandon(Refusal why) {
  const bool waits = shared_.model.on_client_gone == UpstreamModel::OnClientGone::kWait;
  if (!waits || forwarding_.streamed) {
    resetStream(http::ResetReason::kCancel);
    endLater(why);
    return;
  }
  timer_.arm(Deadline::after(work_.deadline.when(), shared_.model.hang_timeout).when());
  abandoned_ = why;
  stream_->doubt();
  stream_->consume(std::exchange(unconsumed_, 0));
}

// Not from here: this may be the listener's own call.
void UpstreamCall::endLater(Refusal why) {
  abandoned_ = why;
  state_ = State::kEnding;
  stopConnecting();
  timer_.armAfter(Duration::zero());
}

void UpstreamCall::fail() {
  resetStream(http::ResetReason::kCancel);
  refuse(
      abandoned_.value_or(begun_ ? Refusal::kServerConnectionLost : Refusal::kServerUnreachable));
}

void UpstreamCall::succeed() {
  end(outcomeOf(status_));
  if (whole_.has_value()) {
    listener_.onReply({.head = std::move(*whole_), .body = {}});
  } else {
    listener_.onFinished(trailers_);
  }
}

void UpstreamCall::refuse(Refusal why) {
  end(outcomeOf(why, begun_ ? runtime::Stage::kPredict : runtime::Stage::kGate));
  if (head_seen_) {
    listener_.onAborted(why);
  } else {
    listener_.onReply(makeRefusal(why));
  }
}

// The permit first: whoever is next need not wait for what this one's listener does.
void UpstreamCall::end(const Outcome& outcome) {
  state_ = State::kEnding;
  stopConnecting();
  timer_.disarm();
  credit_.cancel();
  if (forwarding_.gated) {
    const TimePoint now = shared_.loop.clock().now();
    if (begun_) {
      shared_.metrics.stageTook(runtime::Stage::kPredict, now - since_);
    }
    shared_.idle_lanes.move(position_, LaneIdle::Place::kNowhere, now);
    permit_.reset();
    shared_.metrics.ended(outcome);
  }
  shared_.owner.onCallEnded(*this);
}

void UpstreamCall::resetStream(http::ResetReason reason) {
  if (http::ClientStream* stream = std::exchange(stream_, nullptr)) {
    stream->reset(reason);
  }
}

}  // namespace penstock::sidecar
