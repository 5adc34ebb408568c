#include "net/http/http2_server_connection.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http2_connections.h"
#include "net/http/websocket.h"

namespace penstock::http {

std::unique_ptr<ServerCodec> makeHttp2ServerConnection(net::EventLoop& loop,
                                                       std::unique_ptr<net::Connection> connection,
                                                       const Limits& limits,
                                                       ServerConnection::Owner& owner) {
  return std::make_unique<Http2ServerConnection>(loop, std::move(connection), limits, owner);
}

Http2ServerConnection::Http2ServerConnection(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, Owner& owner)
    : owner_(owner),
      session_(Http2Session::Side::kServer, loop, std::move(connection), limits, *this),
      block_(session_.limits()),
      trailers_(session_.limits()) {}

void Http2ServerConnection::onConnected() {
  connected_at_ = session_.loop().now();
  session_.start();
  session_.due(connected_at_, session_.limits().preface_timeout);
}

void Http2ServerConnection::onBytes(std::span<const std::uint8_t> bytes) {
  if (!session_.receive(bytes)) {
    finish(StreamEnd::kProtocolError);
  }
}

void Http2ServerConnection::onClosed(net::CloseReason reason) {
  using net::CloseReason;
  switch (reason) {
    case CloseReason::kWriteTimeout:
      owner_.onOverdue(Overdue::kWrite);
      return finish(StreamEnd::kTimeout);
    case CloseReason::kPeerClosed:
    case CloseReason::kPeerReset:
      return finish(StreamEnd::kPeerReset);
    default:
      return finish(StreamEnd::kConnectionLost);
  }
}

void Http2ServerConnection::finish(StreamEnd end) {
  session_.close(end);
  owner_.onConnectionClosed(*this);
}

void Http2ServerConnection::drain(Idle idle) {
  if (!session_.isOpen()) {
    return;
  }
  if (drain_ == Drain::kNo && idle == Idle::kAnswer && requests_ == 0) {
    drain_ = Drain::kAwaited;
    drain_since_ = session_.loop().now();
    session_.due(drain_since_, kDrainNotice);
  } else if (drain_ < Drain::kNoticed) {
    sendNotice();
  }
}

void Http2ServerConnection::sendNotice() {
  drain_ = Drain::kNoticed;
  drain_since_ = session_.loop().now();
  nghttp2_submit_shutdown_notice(session_.native());
  session_.due(drain_since_, kDrainNotice);
  session_.flushLater();
}

void Http2ServerConnection::sendFinalGoaway() {
  drain_ = Drain::kFinal;
  nghttp2_submit_goaway(session_.native(), NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_.native()),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  session_.flushLater();
}

void Http2ServerConnection::onGoawaySent() {
  if (drain_ == Drain::kNoticed) {
    // What the client sends before it sees the notice has arrived when the answer to this has. (A
    // PING submitted together with the notice would overtake it.)
    nghttp2_submit_ping(session_.native(), NGHTTP2_FLAG_NONE, nullptr);
  }
}

void Http2ServerConnection::onPingAck() {
  if (drain_ == Drain::kNoticed) {
    sendFinalGoaway();
  }
}

void Http2ServerConnection::onSettings(bool ack) {
  if (ack) {
    settings_acked_ = true;
    return;
  }
  if (!std::exchange(preface_done_, true)) {
    session_.due(connected_at_, session_.limits().settings_ack_timeout);
    session_.due(connected_at_, session_.limits().idle_timeout);
  }
}

void Http2ServerConnection::onHeadersBegin(std::int32_t id, bool opens) {
  if (opens) {
    head_since_ = session_.loop().now();
    session_.due(head_since_, session_.limits().header_timeout);
    openStream(id);
  } else {
    trailers_.begin();
  }
}

void Http2ServerConnection::openStream(std::int32_t id) {
  block_.begin();
  ++requests_;
  if (requests_ == session_.limits().max_requests_per_connection || drain_ == Drain::kAwaited) {
    drain(Idle::kAnswer);
  }
  if (activeStreams() >= session_.limits().max_streams) {
    nghttp2_submit_rst_stream(session_.native(), NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  auto stream = std::make_unique<Http2ServerStream>(session_);
  stream->id_ = id;
  nghttp2_session_set_stream_user_data(session_.native(), id,
                                       static_cast<Http2Stream*>(stream.get()));
  session_.add(std::move(stream));
}

void Http2ServerConnection::onHeader(Http2Stream& stream, std::string_view name,
                                     std::string_view value) {
  if (static_cast<Http2ServerStream&>(stream).request_seen_) {
    trailers_.add(name, value);
  } else {
    block_.add(name, value);
  }
}

void Http2ServerConnection::onInvalidHeader(Http2Stream& stream) {
  if (static_cast<Http2ServerStream&>(stream).request_seen_) {
    trailers_.addInvalid();
  } else {
    block_.addInvalid();
  }
}

void Http2ServerConnection::onInvalidRequest(Http2Stream& any) {
  auto& stream = static_cast<Http2ServerStream&>(any);
  if (!std::exchange(stream.request_seen_, true)) {
    owner_.onUnanswerable(Rejection::kBadRequest, "a header field is malformed or missing");
  }
}

// Requests that are there tell how they end.
void Http2ServerConnection::onInvalidConnection(Rejection why, std::string_view detail) {
  const bool told = std::ranges::any_of(session_.streams(), [](const auto& stream) {
    return static_cast<const Http2ServerStream&>(*stream).handler_ != nullptr;
  });
  if (!told) {
    owner_.onUnanswerable(why, detail);
  }
}

void Http2ServerConnection::onHeadersEnd(Http2Stream* any, bool end_stream) {
  if (any == nullptr) {
    return;
  }
  auto& stream = static_cast<Http2ServerStream&>(*any);
  if (std::exchange(stream.request_seen_, true)) {
    acceptTrailers(stream);
    return;
  }
  if (const auto refusal = block_.finish()) {
    if (refusal->why == Rejection::kHeadersTooLarge) {
      session_.headersTooLarge();
    }
    reject(stream, *refusal);
    return;
  }
  if (block_.head().isWebSocket() && end_stream) {
    reject(stream, {Rejection::kBadRequest, "a WebSocket that has ended already"});
    return;
  }
  acceptRequest(stream, std::move(block_.head()), end_stream);
}

void Http2ServerConnection::acceptRequest(Http2ServerStream& stream, RequestHead&& head,
                                          bool end_stream) {
  stream.is_head_request_ = head.method == "HEAD";
  stream.is_websocket_ = head.isWebSocket();
  if (stream.is_websocket_) {
    stream.liftBodyPace();
  } else if (!end_stream && block_.expectsContinue()) {
    stream.body_clock_ = Http2ServerStream::BodyClock::kUntilContinue;
  }
  RequestHandler* handler = owner_.onStream(stream);
  if (handler == nullptr) {
    session_.resetStream(stream, ResetReason::kRefused);
    return;
  }
  if (!stream.listed_) {
    return;  // onStream has closed the connection
  }
  session_.requestAccepted();
  stream.handler_ = handler;
  stream.startBodyClock();
  handler->onRequestHead(std::move(head), end_stream);
}

void Http2ServerConnection::acceptTrailers(Http2ServerStream& stream) {
  if (trailers_.tooLarge() || trailers_.invalid()) {
    const bool answered = stream.handler_ != nullptr &&
                          static_cast<RequestHandler*>(stream.handler_)
                              ->onUnreadable(trailers_.tooLarge() ? Rejection::kHeadersTooLarge
                                                                  : Rejection::kBadRequest,
                                             "the trailer section is too large or malformed");
    if (answered) {
      return;
    }
    session_.failLater(stream, StreamEnd::kProtocolError, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  removeHeadFields(trailers_.headers());
  if (stream.handler_ != nullptr) {
    stream.handler_->onTrailers(std::move(trailers_.headers()));
  }
}

void Http2ServerConnection::reject(Http2ServerStream& stream, const Http2Refusal& refusal) {
  const auto [why, detail, is_grpc] = refusal;
  std::string text;
  ResponseHead head = is_grpc ? owner_.rejectGrpcRequest(why, detail, text)
                              : owner_.rejectRequest(why, detail, text);
  if (!stream.listed_) {
    return;
  }
  if (why == Rejection::kWebSocketVersion) {
    head.headers.set("sec-websocket-version", kTakenWebSocketVersion);
  }
  stream.sendHead(head, text.empty());
  if (!text.empty()) {
    net::Buffer body;
    body.append(text);
    stream.sendData(body, true);
  }
}

void Http2ServerConnection::onStreamsEnded() {
  if (session_.streams().empty()) {
    session_.due(session_.idleSince(), session_.limits().idle_timeout);
  }
}

TimePoint Http2ServerConnection::onTimer(TimePoint now) {
  TimePoint next = TimePoint::max();
  if (!checkConnection(now, next)) {
    return next;
  }
  return std::min(next, checkStreams(now));
}

bool Http2ServerConnection::checkConnection(TimePoint now, TimePoint& next) {
  const Limits& limits = session_.limits();
  const auto passed = [&](TimePoint since, Duration timeout) {
    const Deadline deadline = Deadline::after(since, timeout);
    if (!deadline.passed(now)) {
      next = std::min(next, deadline.when());
    }
    return deadline.passed(now);
  };
  if (!preface_done_ && passed(connected_at_, limits.preface_timeout)) {
    owner_.onOverdue(Overdue::kPreface);
    finish(StreamEnd::kTimeout);
    return false;
  }
  if (!settings_acked_ && passed(connected_at_, limits.settings_ack_timeout)) {
    owner_.onOverdue(Overdue::kSettingsAck);
    session_.terminate(StreamEnd::kTimeout, NGHTTP2_SETTINGS_TIMEOUT);
    return false;
  }
  if (head_expired_) {
    // Nothing else can arrive before this block has ended, so the other streams are cut off too.
    session_.terminate(StreamEnd::kTimeout, NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
  }
  Http2ServerStream* unfinished = withoutHead();
  if (unfinished != nullptr && passed(head_since_, limits.header_timeout)) {
    reject(*unfinished, {Rejection::kRequestTimeout, "the header fields came too slowly"});
    head_expired_ = true;
    next = now;  // the answer is written first: nghttp2 says nothing more after GOAWAY
  }
  if (drain_ == Drain::kAwaited && passed(drain_since_, kDrainNotice)) {
    sendNotice();
  }
  if (drain_ == Drain::kNoticed && passed(drain_since_, kDrainNotice)) {
    sendFinalGoaway();
  }
  if (session_.streams().empty() && drain_ != Drain::kFinal &&
      passed(session_.idleSince(), limits.idle_timeout)) {
    sendFinalGoaway();
  }
  return true;
}

Http2ServerStream* Http2ServerConnection::withoutHead() const {
  for (const auto& any : session_.streams()) {
    auto& stream = static_cast<Http2ServerStream&>(*any);
    if (!stream.request_seen_) {
      return &stream;
    }
  }
  return nullptr;
}

TimePoint Http2ServerConnection::checkStreams(TimePoint now) {
  TimePoint next = TimePoint::max();
  // Backwards, because ending a stream puts the last one in its place.
  for (std::size_t i = session_.streams().size(); i-- > 0 && session_.isOpen();) {
    if (i >= session_.streams().size()) {
      continue;  // a handler has ended others
    }
    auto& stream = static_cast<Http2ServerStream&>(*session_.streams()[i]);
    const auto check = stream.checkDeadlines(now);
    next = std::min(next, check.next);
    if (check.overdue != Http2ServerStream::Overdue::kNothing) {
      expire(stream, check.overdue);
    }
  }
  return next;
}

void Http2ServerConnection::expire(Http2ServerStream& stream, Http2ServerStream::Overdue overdue) {
  if (overdue == Http2ServerStream::Overdue::kBody) {
    constexpr Http2Refusal kTooSlow{Rejection::kRequestTimeout, "the body came too slowly"};
    if (static_cast<RequestHandler*>(stream.handler_)
            ->onUnreadable(kTooSlow.why, kTooSlow.detail)) {
      return;
    }
    // The stream stays to carry the answer; to the handler it is over.
    StreamHandler* told = std::exchange(stream.handler_, nullptr);
    told->onEnd(StreamEnd::kTimeout);
    if (stream.listed_) {
      reject(stream, kTooSlow);
    }
    return;
  }
  owner_.onOverdue(Overdue::kWrite);
  session_.failLater(stream, StreamEnd::kTimeout, NGHTTP2_CANCEL);
}

}  // namespace penstock::http
