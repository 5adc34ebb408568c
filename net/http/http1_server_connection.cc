#include "net/http/http1_server_connection.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "net/http/http1_connections.h"
#include "net/http/http1_writer.h"
#include "net/http/websocket.h"

namespace penstock::http {
namespace {

using net::PauseReason;

// Most answers come before this, so that few of those who read them see a 100 in front.
constexpr Duration kAskAfter = std::chrono::milliseconds(500);
// Between two looks whether a client that has ended its direction is still there.
constexpr Duration kFirstPause = std::chrono::milliseconds(5);
constexpr Duration kLongestPause = std::chrono::seconds(1);

StreamEnd endFor(net::CloseReason reason) {
  switch (reason) {
    case net::CloseReason::kWriteTimeout:
      return StreamEnd::kTimeout;
    case net::CloseReason::kLocal:
      return StreamEnd::kLocal;
    default:
      return StreamEnd::kPeerReset;
  }
}

}  // namespace

std::unique_ptr<ServerCodec> makeHttp1Server(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, ServerConnection::Owner& owner) {
  return std::make_unique<Http1ServerConnection>(loop, std::move(connection), limits, owner);
}

Http1ServerConnection::Http1ServerConnection(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, Owner& owner)
    : loop_(loop),
      connection_(std::move(connection)),
      limits_(limits),
      owner_(owner),
      reader_(Http1BlockReader::Start::kRequestLine, limits),
      stream_(*this),
      pace_(limits),
      timer_(loop, [this] { onTimer(); }),
      work_(loop, [this] { onWork(); }),
      idle_since_(loop.now()) {}

void Http1ServerConnection::drain(Idle idle) {
  if (!draining_.has_value() || idle == Idle::kClose) {
    draining_ = {.since = loop_.now(), .idle = idle};
  }
  if (endsWhenIdle() && !busy() && request_done_ && !reader_.inHead() && input_.empty()) {
    beginClose();
  } else {
    updateTimer();
  }
}

void Http1ServerConnection::close() {
  closing_ = true;
  timer_.disarm();
  work_.cancel();
  connection_->close();
  if (busy()) {
    stream_.end(StreamEnd::kLocal);
  }
}

std::size_t Http1ServerConnection::activeStreams() const {
  return reserved_.count() + (busy() ? 1 : 0);
}

void Http1ServerConnection::onConnected() {
  idle_since_ = loop_.now();
  updateTimer();
}

void Http1ServerConnection::onBytes(std::span<const std::uint8_t> bytes) {
  if (closing_) {
    return;
  }
  std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (input_.empty()) {
    process(view);
  }
  if (!view.empty() && !closing_) {
    input_.append(view);
    if (input_.size() >= kPipelinedBytes) {
      connection_->pause(PauseReason::kPipelined);
    }
  }
  updateTimer();
}

void Http1ServerConnection::process(std::string_view& input) {
  while (!closing_ && !input.empty() && !(busy() && request_done_)) {
    const auto step = reader_.next(input);
    if (!step.has_value()) {
      fail(step.error().why, step.error().detail);
      return;
    }
    switch (step->event) {
      case Http1Reader::Event::kNeedMore:
        break;
      case Http1Reader::Event::kHead:
        onHead(step->bytes);
        break;
      case Http1Reader::Event::kData:
        onBody(step->bytes, step->last);
        break;
      case Http1Reader::Event::kEnd:
        onRequestEnd();
        break;
    }
  }
  if (reader_.inHead() && !head_start_.has_value()) {
    head_start_ = loop_.now();
  }
}

void Http1ServerConnection::onHead(std::string_view block) {
  auto request = readRequest(block, limits_, connection_->isTls());
  if (!request.has_value()) {
    fail(request.error().why, request.error().detail);
    return;
  }
  reader_.beginBody(request->framing);
  head_start_.reset();
  ++requests_;
  const std::uint64_t most = limits_.max_requests_per_connection;
  keep_alive_ = request->keep_alive && (most == 0 || requests_ < most);
  http10_ = request->http10;
  request_done_ = request->framing.kind == Http1Framing::Kind::kNone;
  const bool ends = request_done_ && request->websocket_key.empty();
  tunnel_ = false;
  discarding_ = false;
  response_whole_ = true;
  unconsumed_ = 0;
  pace_.reset();
  stream_.begin(*request);
  RequestHandler* const handler = owner_.onStream(stream_);
  if (handler == nullptr) {
    closeNow();
    return;
  }
  stream_.setHandler(handler);
  if (!request_done_ && !request->expects_continue) {
    pace_.start(loop_.now());
  }
  handler->onRequestHead(std::move(request->head), ends);
}

void Http1ServerConnection::onAccepted() {
  tunnel_ = true;
  pace_.lift();
  request_done_ = false;
  reader_.beginBody({.kind = Http1Framing::Kind::kUntilClose});
  if (!input_.empty()) {
    work_.schedule();
  }
}

void Http1ServerConnection::onBody(std::string_view bytes, bool last) {
  pace_.onBytes(loop_.now(), bytes.size());
  stream_.onBodyArrived();
  request_done_ = last;
  if (discarding_) {
    discardBody(bytes.size());
    return;
  }
  unconsumed_ += bytes.size();
  if (last) {
    pace_.stop();
  } else if (unconsumed_ > limits_.stream_window) {
    connection_->pause(PauseReason::kBodyBuffered);
    pace_.stop();
  } else if (!pace_.running()) {
    pace_.start(loop_.now());
  }
  stream_.handler()->onData({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                            last);
}

void Http1ServerConnection::onRequestEnd() {
  request_done_ = true;
  pace_.stop();
  Headers trailers = reader_.takeTrailers();
  if (discarding_) {
    discardBody(0);
  } else if (trailers.empty()) {
    stream_.handler()->onData({}, true);
  } else {
    stream_.handler()->onTrailers(std::move(trailers));
  }
}

void Http1ServerConnection::discardBody(std::size_t count) {
  discarded_ += count;
  if (request_done_) {
    discarding_ = false;
    pace_.stop();
    idle_since_ = loop_.now();
    if (endsWhenIdle() && !busy()) {
      beginClose();
    }
  } else if (discarded_ > kDrainedBytes) {
    beginClose();
  }
}

void Http1ServerConnection::onFillOutput(net::Buffer&) {
  stream_.onProgress();
  finishIfWritten();
}

void Http1ServerConnection::finishIfWritten() {
  if (!busy() || !stream_.responseDone() || !connection_->output().empty()) {
    return;
  }
  connection_->resume(PauseReason::kBodyBuffered);
  idle_since_ = loop_.now();
  stream_.end(response_whole_ ? StreamEnd::kComplete : StreamEnd::kLocal);
  if (endsWhenIdle() && request_done_) {
    beginClose();
  }
  if (!closing_ && !input_.empty()) {
    work_.schedule();
  } else if (!closing_ && half_closed_.has_value()) {
    beginClose();
  }
  updateTimer();
}

void Http1ServerConnection::onPeerClosed() {
  if (closing_) {
    return;
  }
  if (busy() && tunnel_ && !stream_.responseDone()) {
    request_done_ = true;
    stream_.handler()->onData({}, true);
    return;
  }
  const bool asked = busy() ? request_done_ && !stream_.asksForWebSocket() : !input_.empty();
  if (asked && limits_.half_close == HalfClose::kAnswer) {
    beginHalfClosed();
  } else if (busy() && stream_.responseDone()) {
    beginClose();
  } else {
    clientGone();
  }
}

void Http1ServerConnection::beginHalfClosed() {
  half_closed_ = HalfClosed{.look_at = loop_.now() + kAskAfter};
  updateTimer();
}

bool Http1ServerConnection::endHalfClosed() {
  if (!half_closed_.has_value() || (busy() && request_done_)) {
    return false;
  }
  if (busy() && !stream_.responseDone()) {
    clientGone();
  } else {
    beginClose();
  }
  return true;
}

void Http1ServerConnection::lookAfterHalfClosed(TimePoint now) {
  if (connection_->isReset()) {
    clientGone();
    return;
  }
  if (half_closed_->pause > Duration::zero()) {
    half_closed_->pause = std::min(2 * half_closed_->pause, kLongestPause);
  } else {
    half_closed_->pause = kFirstPause;
    if (busy() && !stream_.headSent() && !http10_) {
      Http1Writer::writeInformational(connection_->output(), 100, {});
      connection_->flushLater();
    }
  }
  half_closed_->look_at = now + half_closed_->pause;
  updateTimer();
}

void Http1ServerConnection::clientGone() {
  closeNow();
  if (busy()) {
    stream_.end(StreamEnd::kPeerReset);
  }
}

void Http1ServerConnection::onClosed(net::CloseReason reason) {
  closing_ = true;
  timer_.disarm();
  work_.cancel();
  if (reason == net::CloseReason::kWriteTimeout) {
    owner_.onOverdue(ServerConnection::Overdue::kWrite);
  }
  if (busy()) {
    const bool written = stream_.responseDone() && response_whole_;
    stream_.end(reason == net::CloseReason::kLocal && written ? StreamEnd::kComplete
                                                              : endFor(reason));
  }
  owner_.onConnectionClosed(*this);
}

bool Http1ServerConnection::mayKeepAlive(bool ends) const {
  const bool readable = request_done_ || !ends || reader_.remaining() <= kDrainedBytes;
  const bool over = half_closed_.has_value() && input_.empty();
  return keep_alive_ && !draining_.has_value() && !over && readable;
}

void Http1ServerConnection::onResponseEnded(bool whole) {
  response_whole_ = whole;
  // A head that was sent before the drain may have said that the connection stays.
  bool keep = whole && keep_alive_ && !endsWhenIdle();
  if (!request_done_) {
    keep = keep && reader_.remaining() <= kDrainedBytes && !stream_.waitsForContinue();
    discarding_ = true;
    discarded_ = 0;
    connection_->resume(PauseReason::kBodyBuffered);
    pace_.reset();
    pace_.start(loop_.now());
    updateTimer();
  }
  if (keep) {
    connection_->flushLater();
  } else {
    beginClose();
  }
}

void Http1ServerConnection::onContinued() {
  pace_.start(loop_.now());
  updateTimer();
}

void Http1ServerConnection::onPaceLifted() {
  pace_.lift();
  updateTimer();
}

void Http1ServerConnection::onConsumed(std::size_t count) {
  unconsumed_ -= std::min(count, unconsumed_);
  if (unconsumed_ <= limits_.stream_window / 2 && !request_done_ && !discarding_ && !closing_) {
    connection_->resume(PauseReason::kBodyBuffered);
    if (!pace_.running() && !stream_.waitsForContinue()) {
      pace_.start(loop_.now());
      updateTimer();
    }
  }
}

void Http1ServerConnection::onReset(bool flush) {
  if (flush) {
    beginClose();
  } else {
    closeNow();
  }
}

void Http1ServerConnection::fail(ServerConnection::Rejection why, std::string_view detail) {
  const bool slow = why == Rejection::kRequestTimeout;
  const StreamEnd how = slow ? StreamEnd::kTimeout : StreamEnd::kProtocolError;
  if (discarding_) {
    beginClose();
    return;
  }
  if (busy()) {
    // Of such a request nothing more is read, and so the connection ends with its answer.
    keep_alive_ = false;
    pace_.lift();
    updateTimer();
    if (stream_.handler()->onUnreadable(why, detail)) {
      return;
    }
  }
  if (busy() && stream_.headSent()) {
    closeNow();
    stream_.end(how);
    return;
  }
  std::string body;
  ResponseHead head = owner_.rejectRequest(why, detail, body);
  head.content_length = body.size();
  if (why == Rejection::kWebSocketVersion) {
    head.headers.set("sec-websocket-version", kTakenWebSocketVersion);
  }
  Http1Writer writer;
  writer.beginResponse(connection_->output(), head,
                       {.end_stream = body.empty(), .keep_alive = false});
  net::Buffer bytes;
  bytes.append(body);
  writer.writeData(connection_->output(), bytes, true);
  beginClose();
  if (busy()) {
    stream_.end(how);
  }
}

void Http1ServerConnection::beginClose() {
  if (!closing_) {
    closing_ = true;
    timer_.disarm();
    connection_->closeAfterFlush();
  }
}

void Http1ServerConnection::closeNow() {
  closing_ = closed_ = true;
  timer_.disarm();
  connection_->close();
  work_.schedule();
}

void Http1ServerConnection::onWork() {
  if (closed_) {
    owner_.onConnectionClosed(*this);
    return;
  }
  const std::string held = std::exchange(input_, {});
  std::string_view view = held;
  process(view);
  if (closing_) {
    return;
  }
  input_.assign(view);
  if (endHalfClosed()) {
    return;
  }
  if (input_.size() < kPipelinedBytes) {
    connection_->resume(PauseReason::kPipelined);
  }
  updateTimer();
}

TimePoint Http1ServerConnection::nextDue() const {
  if (closing_) {
    return TimePoint::max();
  }
  if (half_closed_.has_value()) {
    return half_closed_->look_at;
  }
  if (head_start_.has_value()) {
    return *head_start_ + limits_.header_timeout;
  }
  if (!request_done_) {
    return pace_.due();
  }
  if (busy()) {
    return TimePoint::max();
  }
  const TimePoint idle_until = idle_since_ + limits_.idle_timeout;
  return draining_.has_value()
             ? std::min(idle_until, std::max(draining_->since, idle_since_) + kDrainNotice)
             : idle_until;
}

void Http1ServerConnection::onTimer() {
  const TimePoint now = loop_.now();
  if (nextDue() > now) {
    updateTimer();
  } else if (half_closed_.has_value()) {
    lookAfterHalfClosed(now);
  } else if (head_start_.has_value()) {
    fail(Rejection::kRequestTimeout, "the request's header took too long");
  } else if (!request_done_) {
    if (pace_.tooSlow(now)) {
      fail(Rejection::kRequestTimeout, "the request's body came too slowly");
    } else {
      updateTimer();
    }
  } else {
    beginClose();
  }
}

}  // namespace penstock::http
