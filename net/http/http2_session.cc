#include "net/http/http2_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "net/http/http2_callbacks.h"

namespace penstock::http {

namespace {

// Enough for one write; what does not fit waits in nghttp2, where a reset can still take it back.
constexpr std::size_t kOutputTarget = 64 * 1024;

std::uint32_t errorCode(ResetReason reason) {
  switch (reason) {
    case ResetReason::kNoError:
      return NGHTTP2_NO_ERROR;
    case ResetReason::kCancel:
      return NGHTTP2_CANCEL;
    case ResetReason::kRefused:
      return NGHTTP2_REFUSED_STREAM;
    case ResetReason::kInternal:
      return NGHTTP2_INTERNAL_ERROR;
    case ResetReason::kProtocol:
      return NGHTTP2_PROTOCOL_ERROR;
    case ResetReason::kEnhanceYourCalm:
      return NGHTTP2_ENHANCE_YOUR_CALM;
  }
  return NGHTTP2_INTERNAL_ERROR;
}

// Whether we reset a stream with that error because the peer broke the protocol on it.
bool brokenByPeer(std::uint32_t error_code) {
  return error_code == NGHTTP2_PROTOCOL_ERROR || error_code == NGHTTP2_FLOW_CONTROL_ERROR ||
         error_code == NGHTTP2_STREAM_CLOSED || error_code == NGHTTP2_FRAME_SIZE_ERROR;
}

// Whether a connection ends with that error because the peer broke the protocol.
bool isPeersFault(std::uint32_t error_code) {
  return brokenByPeer(error_code) || error_code == NGHTTP2_COMPRESSION_ERROR;
}

// Enough for a block of that size; as many as nghttp2 allows by default if that is less.
std::size_t continuationsFor(std::size_t max_header_bytes) {
  constexpr std::size_t kFramePayload = 16 * 1024;
  return std::max<std::size_t>(Http2FrameHeads::kContinuations, max_header_bytes / kFramePayload);
}

// A replica may send what it likes: what waits for it is bounded elsewhere.
Limits trusting(Limits limits) {
  limits.client_resets = limits.forced_resets = limits.frames = {.burst = 0, .per_second = 0};
  return limits;
}

}  // namespace

Http2Session::Http2Session(Side side, net::EventLoop& loop,
                           std::unique_ptr<net::Connection> connection, const Limits& limits,
                           Events& events)
    : side_(side),
      loop_(loop),
      connection_(std::move(connection)),
      limits_(limits),
      events_(events),
      heads_(side == Side::kServer ? NGHTTP2_CLIENT_MAGIC_LEN : 0,
             continuationsFor(limits.max_header_bytes)),
      guard_(side == Side::kServer ? limits : trusting(limits), loop.now()),
      timer_(loop, [this] { onTimerFired(); }),
      idle_since_(loop.now()) {
  native_ = newHttp2Session(side == Side::kServer, *this);
}

Http2Session::~Http2Session() {
  close(StreamEnd::kLocal);
  nghttp2_session_del(native_);
}

void Http2Session::start() {
  submitSettings();
  nghttp2_session_set_local_window_size(native_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits_.connection_window));
  flushLater();
}

void Http2Session::submitSettings() {
  std::array<nghttp2_settings_entry, 4> entries;
  std::size_t count = 0;
  if (side_ == Side::kServer) {
    entries[count++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.max_streams};
    entries[count++] = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  } else {
    entries[count++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  }
  entries[count++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window};
  entries[count++] = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                      static_cast<std::uint32_t>(limits_.max_header_bytes)};
  nghttp2_submit_settings(native_, NGHTTP2_FLAG_NONE, entries.data(), count);
}

bool Http2Session::receive(std::span<const std::uint8_t> bytes) {
  if (!open_) {
    return true;
  }
  guard_.onBytesRead(bytes.size());
  bytes = heads_.pass(bytes);
  if (heads_.tooManyContinuations()) {
    events_.onInvalidConnection(ServerConnection::Rejection::kHeadersTooLarge,
                                "a header block of too many CONTINUATION frames");
    return false;
  }
  guard_.onFrames(heads_.takeCount(), loop_.now());
  const ssize_t taken = nghttp2_session_mem_recv(native_, bytes.data(), bytes.size());
  guard_.chargeHeaders(loop_.now());
  deliverPending();
  if (!open_) {
    return true;
  }
  if (!checkReceived(taken)) {
    return false;
  }
  if (side_ == Side::kServer && heads_.cameTooLate()) {
    terminate(StreamEnd::kProtocolError, NGHTTP2_STREAM_CLOSED);
  }
  checkFlood();
  if (nghttp2_session_want_write(native_) != 0 || nghttp2_session_want_read(native_) == 0) {
    flushLater();
  }
  return true;
}

bool Http2Session::checkReceived(ssize_t taken) {
  const bool flood = taken == NGHTTP2_ERR_FLOODED ||
                     nghttp2_session_get_outbound_queue_size(native_) > limits_.max_outbound_frames;
  if (flood) {
    events_.onFlood(ServerConnection::Flood::kOutboundFrames);
  } else if (taken < 0) {
    events_.onInvalidConnection(ServerConnection::Rejection::kBadRequest, "what came is no HTTP/2");
  }
  return !flood && taken >= 0;
}

void Http2Session::fill(net::Buffer& output) {
  if (!open_) {
    return;
  }
  filling_ = &output;
  while (open_ && output.size() < kOutputTarget) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t count = nghttp2_session_mem_send(native_, &bytes);
    if (count <= 0) {
      PENSTOCK_CHECK(count == 0, "nghttp2 can always frame what was submitted");
      break;
    }
    if (open_) {
      output.append(std::span(bytes, static_cast<std::size_t>(count)));
    }
  }
  filling_ = nullptr;
  deliverPending();
  checkFlood();
  if (open_ && nghttp2_session_want_read(native_) == 0 &&
      nghttp2_session_want_write(native_) == 0) {
    open_ = false;
    timer_.disarm();
    endAll(farewell_);
    connection_->closeAfterFlush();
  }
}

void Http2Session::terminate(StreamEnd end, std::uint32_t error_code) {
  farewell_ = end;
  nghttp2_session_terminate_session(native_, error_code);
  flushLater();
}

void Http2Session::checkFlood() {
  if (open_ && guard_.flood() && !std::exchange(flooded_, true)) {
    events_.onFlood(*guard_.flood());
    terminate(StreamEnd::kProtocolError, NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

void Http2Session::close(StreamEnd end) {
  open_ = false;
  timer_.disarm();
  connection_->close();
  endAll(end);
}

void Http2Session::endAll(StreamEnd end) {
  while (!streams_.empty()) {
    Http2Stream& stream = *streams_.back();
    stream.on_wire_ = false;
    endStream(stream, atEnd(stream, end));
  }
}

// How a stream ends with its connection.
StreamEnd Http2Session::atEnd(const Http2Stream& stream, StreamEnd end) const {
  if (end == StreamEnd::kLocal) {
    return end;
  }
  if (!stream.started_) {
    return StreamEnd::kRefused;
  }
  // A server that has answered may leave without the rest of the request.
  return side_ == Side::kClient && stream.read_ended_ ? StreamEnd::kComplete : end;
}

void Http2Session::add(std::unique_ptr<Http2Stream> stream) {
  stream->index_ = static_cast<std::uint32_t>(streams_.size());
  stream->listed_ = true;
  streams_.push_back(std::move(stream));
}

void Http2Session::retire(Http2Stream& stream) {
  if (stream.ready_pending_ || stream.failure_pending_) {
    std::erase(pending_, &stream);
  }
  if (block_ == &stream) {
    block_ = nullptr;
  }
  forget(stream);
  stream.listed_ = false;
  std::unique_ptr<Http2Stream>& place = streams_[stream.index_];
  std::swap(place, streams_.back());
  place->index_ = stream.index_;
  loop_.destroyLater(std::move(streams_.back()));
  streams_.pop_back();
  streams_ended_ = true;
  if (streams_.empty()) {
    idle_since_ = loop_.now();
  }
}

void Http2Session::endStream(Http2Stream& stream, StreamEnd end) {
  if (!stream.listed_) {
    return;
  }
  StreamHandler* handler = std::exchange(stream.handler_, nullptr);
  retire(stream);
  if (handler != nullptr) {
    handler->onEnd(end);
  }
}

void Http2Session::resetStream(Http2Stream& stream, ResetReason reason) {
  if (!stream.listed_) {
    return;
  }
  stream.handler_ = nullptr;
  resetOnWire(stream, errorCode(reason));
  retire(stream);
  flushLater();
}

void Http2Session::resetOnWire(Http2Stream& stream, std::uint32_t error_code) {
  if (std::exchange(stream.on_wire_, false)) {
    forget(stream);
    nghttp2_session_set_stream_user_data(native_, stream.id_, nullptr);
    nghttp2_submit_rst_stream(native_, NGHTTP2_FLAG_NONE, stream.id_, error_code);
  }
}

void Http2Session::failLater(Http2Stream& stream, StreamEnd end, std::uint32_t error_code) {
  resetOnWire(stream, error_code);
  stream.failure_ = end;
  if (!std::exchange(stream.failure_pending_, true) && !stream.ready_pending_) {
    pending_.push_back(&stream);
  }
  flushLater();
}

void Http2Session::readyLater(Http2Stream& stream) {
  if (!std::exchange(stream.ready_pending_, true) && !stream.failure_pending_) {
    pending_.push_back(&stream);
  }
}

void Http2Session::deliverPending() {
  // A handler may end any stream, which takes it out of pending_, or give another something to
  // hear.
  while (!pending_.empty()) {
    Http2Stream& stream = *pending_.back();
    pending_.pop_back();
    const bool ready = std::exchange(stream.ready_pending_, false);
    if (std::exchange(stream.failure_pending_, false)) {
      endStream(stream, stream.failure_);
    } else if (ready && stream.handler_ != nullptr) {
      stream.handler_->onSendReady();
    }
  }
  if (std::exchange(streams_ended_, false) && open_) {
    events_.onStreamsEnded();
  }
}

void Http2Session::due(TimePoint when) {
  if (when < armed_for_) {
    armed_for_ = when;
    timer_.arm(when);
  }
}

void Http2Session::due(TimePoint now, Duration timeout) {
  due(Deadline::after(now, timeout).when());
}

void Http2Session::onTimerFired() {
  armed_for_ = TimePoint::max();
  if (!open_) {
    return;
  }
  const TimePoint next = events_.onTimer(loop_.now());
  if (open_) {
    deliverPending();
  }
  if (open_) {
    due(next);
  }
}

void Http2Session::flushLater() {
  if (open_) {
    connection_->flushLater();
  }
}

Http2Stream* Http2Session::find(std::int32_t id) {
  if (found_ == nullptr || found_->id_ != id) {
    found_ = static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(native_, id));
  }
  return found_;
}

void Http2Session::forget(const Http2Stream& stream) {
  if (found_ == &stream) {
    found_ = nullptr;
  }
}

void Http2Session::frameReceived(const nghttp2_frame& frame) {
  const bool end_stream = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  const bool ack = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
  Http2Stream* stream = frame.hd.stream_id > 0 ? find(frame.hd.stream_id) : nullptr;
  switch (frame.hd.type) {
    case NGHTTP2_DATA:
      if (end_stream && stream != nullptr) {
        stream->read_ended_ = true;
        if (stream->handler_ != nullptr) {
          stream->handler_->onData({}, true);
        }
      }
      break;
    case NGHTTP2_HEADERS:
      if (end_stream && stream != nullptr) {
        stream->read_ended_ = true;
      }
      events_.onHeadersEnd(stream, end_stream);
      break;
    case NGHTTP2_RST_STREAM:
      guard_.onClientReset(loop_.now());
      if (stream != nullptr) {
        stream->peer_reset_ = true;
      }
      break;
    case NGHTTP2_SETTINGS:
      events_.onSettings(ack);
      break;
    case NGHTTP2_PING:
      if (ack) {
        events_.onPingAck();
      }
      break;
    case NGHTTP2_GOAWAY:
      events_.onGoaway();
      break;
    default:
      break;
  }
}

void Http2Session::frameSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY) {
    if (isPeersFault(frame.goaway.error_code)) {
      events_.onInvalidConnection(ServerConnection::Rejection::kBadRequest,
                                  "what came breaks the rules of HTTP/2");
    }
    events_.onGoawaySent();
    return;
  }
  if (frame.hd.type == NGHTTP2_RST_STREAM && brokenByPeer(frame.rst_stream.error_code)) {
    guard_.onForcedReset(loop_.now());
  }
  if ((frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) ||
      (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
    return;
  }
  Http2Stream* stream = find(frame.hd.stream_id);
  if (stream == nullptr) {
    return;
  }
  stream->end_sent_ = true;
  if (side_ == Side::kServer && !stream->read_ended_) {
    // Answered before the request was complete: the rest of it is not wanted.
    nghttp2_submit_rst_stream(native_, NGHTTP2_FLAG_NONE, stream->id_, NGHTTP2_NO_ERROR);
  }
}

bool Http2Session::mayDecode(std::size_t bytes) {
  if (guard_.onHeader(bytes)) {
    guard_.chargeHeaders(loop_.now());
  }
  return !guard_.flood();
}

void Http2Session::frameNotSent(const nghttp2_frame& frame) {
  Http2Stream* stream = frame.hd.type == NGHTTP2_HEADERS ? find(frame.hd.stream_id) : nullptr;
  if (stream == nullptr) {
    return;
  }
  if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    stream->failure_ = StreamEnd::kTooLarge;  // nghttp2 closes the stream next
  } else {
    failLater(*stream, StreamEnd::kTooLarge, NGHTTP2_INTERNAL_ERROR);
  }
}

bool Http2Session::takesHeaders(std::size_t bytes) const {
  // Our own replies, and what announces so little is wrong about it.
  constexpr std::size_t kAlways = 4096;
  return bytes <= kAlways ||
         (bytes < kUnsendable && bytes <= nghttp2_session_get_remote_settings(
                                              native_, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE));
}

void Http2Session::streamClosed(Http2Stream& stream, std::uint32_t error_code) {
  stream.on_wire_ = false;
  endStream(stream, classify(stream, error_code));
}

StreamEnd Http2Session::classify(const Http2Stream& stream, std::uint32_t error_code) const {
  if (stream.failure_ != StreamEnd::kComplete) {
    return stream.failure_;
  }
  if (stream.end_sent_ && (stream.read_ended_ || side_ == Side::kServer)) {
    return StreamEnd::kComplete;
  }
  if (side_ == Side::kClient) {
    if (error_code == NGHTTP2_REFUSED_STREAM || !stream.started_) {
      return StreamEnd::kRefused;
    }
    if (stream.read_ended_ && error_code == NGHTTP2_NO_ERROR) {
      return StreamEnd::kComplete;
    }
  }
  return stream.peer_reset_ ? StreamEnd::kPeerReset : StreamEnd::kProtocolError;
}

}  // namespace penstock::http
