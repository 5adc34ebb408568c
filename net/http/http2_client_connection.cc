#include "net/http/http2_client_connection.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http2_callbacks.h"
#include "net/http/http2_connections.h"
#include "net/http/websocket.h"

namespace penstock::http {

std::unique_ptr<ClientCodec> makeHttp2ClientConnection(net::EventLoop& loop,
                                                       std::unique_ptr<net::Connection> connection,
                                                       bool detect, const Limits& limits,
                                                       ClientConnection::Owner& owner) {
  return std::make_unique<Http2ClientConnection>(loop, std::move(connection), detect, limits,
                                                 owner);
}

namespace {

// A shorter silence says nothing about a connection whose request is given up.
constexpr std::chrono::milliseconds kSilence(500);
// How long a connection in doubt has to answer.
constexpr std::chrono::seconds kSignOfLife(2);

bool takesWebSockets(const Http2Session& session) {
  return nghttp2_session_get_remote_settings(session.native(),
                                             NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

}  // namespace

void Http2ClientStream::sendHead(const RequestHead& head, bool end_stream) {
  PENSTOCK_CHECK(!head_sent_, "a request is sent once");
  head_sent_ = true;
  send_ended_ = end_stream;
  if (!listed_) {
    return;
  }
  // HTTP/1.0 may have come without a host; the peer's own name is as good as any.
  const std::string authority =
      head.authority.empty() ? session_.connection().peer().toString() : head.authority;
  if (!isWritableRequestLine(head.method, head.scheme, authority, head.path)) {
    session_.failLater(*this, StreamEnd::kProtocolError, NGHTTP2_NO_ERROR);
    return;
  }
  is_websocket_ = head.isWebSocket();
  if (is_websocket_ && !takesWebSockets(session_)) {
    session_.failLater(*this, StreamEnd::kProtocolError, NGHTTP2_NO_ERROR);
    return;
  }
  Http2FieldList fields(session_.fieldRoom());
  fields.addNamed(":method", head.method);
  fields.addNamed(":scheme", head.scheme);
  fields.addNamed(":authority", authority);
  fields.addNamed(":path", head.path);
  if (is_websocket_) {
    fields.addConstant(":protocol", "websocket");
    fields.addConstant("sec-websocket-version", kTakenWebSocketVersion);
  }
  fields.addHeaders(head.headers, is_websocket_);
  fields.addContentLength(head.content_length, head.headers);
  if (!session_.takesHeaders(fields.bytes())) {
    session_.failLater(*this, StreamEnd::kTooLarge, NGHTTP2_NO_ERROR);
    return;
  }
  const nghttp2_data_provider body = http2Body();
  id_ = nghttp2_submit_request(session_.native(), nullptr, fields.data(), fields.size(),
                               end_stream ? nullptr : &body, static_cast<Http2Stream*>(this));
  if (id_ < 0) {
    id_ = 0;
    session_.failLater(*this, StreamEnd::kRefused, NGHTTP2_NO_ERROR);
    return;
  }
  on_wire_ = true;
  session_.flushLater();
}

void Http2ClientStream::reset(ResetReason reason) {
  doubt();
  resetNow(reason);
}

void Http2ClientStream::doubt() {
  if (listed_ && started_) {
    doubted_at_ = session_.loop().now();
    connection_.doubt();
  }
}

Http2ClientConnection::Http2ClientConnection(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             bool detect, const Limits& limits, Owner& owner)
    : owner_(owner),
      session_(Http2Session::Side::kClient, loop, std::move(connection), limits, *this),
      block_(session_.limits()),
      trailers_(session_.limits()),
      detect_(detect) {}

bool Http2ClientConnection::canOpen() const {
  return ready_ && !draining_ && !inDoubt() && session_.isOpen() &&
         session_.streams().size() < streamLimit() &&
         nghttp2_session_check_request_allowed(session_.native()) != 0;
}

std::size_t Http2ClientConnection::streamLimit() const {
  return nghttp2_session_get_remote_settings(session_.native(),
                                             NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Http2ClientConnection::takesWebSockets() const {
  return http::takesWebSockets(session_);
}

ClientStream& Http2ClientConnection::newStream(ResponseHandler& handler) {
  PENSTOCK_CHECK(canOpen(), "streams are opened only when canOpen()");
  auto stream = std::make_unique<Http2ClientStream>(*this, session_, handler);
  Http2ClientStream& opened = *stream;
  session_.add(std::move(stream));
  return opened;
}

void Http2ClientConnection::onConnected() {
  connected_ = true;
  connected_at_ = session_.loop().now();
  session_.connection().requireProgress();
  session_.start();
  session_.due(connected_at_, session_.limits().preface_timeout);
}

void Http2ClientConnection::onBytes(std::span<const std::uint8_t> bytes) {
  if (!std::exchange(any_bytes_, true) && bytes.front() != 0 && giveUpHttp2(NotHttp2::kSaid)) {
    // A SETTINGS frame is shorter than 2^16 and so begins with zero; "HTTP/1.1 400" does not.
    return;
  }
  heard_at_ = session_.loop().now();
  const bool was_in_doubt = std::exchange(doubted_at_, std::nullopt).has_value();
  if (!session_.receive(bytes)) {
    finish(StreamEnd::kConnectionLost, net::CloseReason::kLocal);
  } else if (was_in_doubt && canOpen()) {
    owner_.onCapacity(*this);
  }
}

void Http2ClientConnection::doubt() {
  const TimePoint now = session_.loop().now();
  if (!session_.isOpen() || now - heard_at_ < kSilence) {
    return;
  }
  if (!doubted_at_.has_value()) {
    nghttp2_submit_ping(session_.native(), NGHTTP2_FLAG_NONE, nullptr);
    doubted_at_ = now;
    session_.flushLater();
  }
  session_.due(*doubted_at_, kSignOfLife);
}

void Http2ClientConnection::giveUpInDoubt() {
  stopOpening();
  const bool awaited = std::ranges::any_of(session_.streams(), [](const auto& stream) {
    return !static_cast<const Http2ClientStream&>(*stream).doubted_at_.has_value();
  });
  if (!awaited && session_.isOpen()) {
    finish(StreamEnd::kConnectionLost, net::CloseReason::kLocal);
  }
}

void Http2ClientConnection::onPeerClosed() {
  if (!giveUpHttp2(NotHttp2::kHungUp)) {
    finish(StreamEnd::kConnectionLost, net::CloseReason::kPeerClosed);
  }
}

void Http2ClientConnection::onClosed(net::CloseReason reason) {
  if (reason != net::CloseReason::kPeerReset || !giveUpHttp2(NotHttp2::kHungUp)) {
    finish(StreamEnd::kConnectionLost, reason);
  }
}

bool Http2ClientConnection::giveUpHttp2(NotHttp2 how) {
  if (!detect_ || ready_ || !connected_ || !session_.isOpen()) {
    return false;
  }
  session_.close(StreamEnd::kRefused);
  owner_.onNotHttp2(*this, how);
  return true;
}

void Http2ClientConnection::finish(StreamEnd end, net::CloseReason reason) {
  session_.close(end);
  owner_.onConnectionClosed(*this, reason);
}

void Http2ClientConnection::stopOpening() {
  if (!std::exchange(draining_, true)) {
    owner_.onDraining(*this);
  }
}

void Http2ClientConnection::onSettings(bool ack) {
  if (ack) {
    settings_acked_ = true;
    return;
  }
  if (std::exchange(ready_, true)) {
    refuseHeldBack();
    owner_.onCapacity(*this);
    return;
  }
  session_.due(connected_at_, session_.limits().settings_ack_timeout);
  session_.due(session_.idleSince(), session_.limits().idle_timeout);
  owner_.onReady(*this);
}

void Http2ClientConnection::refuseHeldBack() {
  std::size_t open = session_.streams().size();
  const std::size_t limit = streamLimit();
  for (const auto& stream : session_.streams()) {
    auto& request = static_cast<Http2ClientStream&>(*stream);
    if (open > limit && request.head_sent_ && !request.started_) {
      session_.failLater(request, StreamEnd::kRefused, NGHTTP2_CANCEL);
      --open;
    }
  }
}

void Http2ClientConnection::onHeadersBegin(std::int32_t, bool) {
  block_.begin();
  trailers_.begin();
}

void Http2ClientConnection::onHeader(Http2Stream& stream, std::string_view name,
                                     std::string_view value) {
  if (static_cast<Http2ClientStream&>(stream).response_seen_) {
    trailers_.add(name, value);
  } else {
    block_.add(name, value);
  }
}

void Http2ClientConnection::onInvalidHeader(Http2Stream& stream) {
  if (static_cast<Http2ClientStream&>(stream).response_seen_) {
    trailers_.addInvalid();
  } else {
    block_.addInvalid();
  }
}

void Http2ClientConnection::onHeadersEnd(Http2Stream* any, bool end_stream) {
  if (any == nullptr) {
    return;
  }
  auto& stream = static_cast<Http2ClientStream&>(*any);
  if (!stream.response_seen_) {
    acceptHead(stream, end_stream);
    return;
  }
  if (trailers_.tooLarge() || trailers_.invalid()) {
    session_.failLater(stream, StreamEnd::kProtocolError, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  removeHeadFields(trailers_.headers());
  stream.response_handler_.onTrailers(std::move(trailers_.headers()));
}

void Http2ClientConnection::acceptHead(Http2ClientStream& stream, bool end_stream) {
  auto head = block_.finish();
  const bool informational = head && head->status < 200;
  if (!head || (informational && ++stream.informational_ > session_.limits().max_informational)) {
    session_.failLater(stream, StreamEnd::kProtocolError, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  session_.requestAccepted();
  if (informational) {
    stream.response_handler_.onInformational(std::move(*head));
    return;
  }
  stream.response_seen_ = true;
  if (stream.is_websocket_ && head->status == 200) {
    removeWebSocketHandshake(head->headers);
  } else if (stream.is_websocket_ && head->status < 300) {
    head->status = 501;  // to the next hop it might say that the WebSocket is there
  }
  stream.response_handler_.onResponseHead(std::move(*head), end_stream);
}

void Http2ClientConnection::onStreamsEnded() {
  if (session_.streams().empty()) {
    session_.due(session_.idleSince(), session_.limits().idle_timeout);
    if (doubted_at_.has_value()) {
      session_.due(*doubted_at_, kSignOfLife);
    }
  }
  if (nghttp2_session_check_request_allowed(session_.native()) == 0) {
    stopOpening();  // GOAWAY, or all stream ids are used up
    if (session_.isOpen() && session_.streams().empty()) {
      session_.terminate(StreamEnd::kLocal, NGHTTP2_NO_ERROR);
    }
  } else if (canOpen()) {
    owner_.onCapacity(*this);
  }
}

TimePoint Http2ClientConnection::onTimer(TimePoint now) {
  const Limits& limits = session_.limits();
  TimePoint next = TimePoint::max();
  const auto passed = [&](TimePoint since, Duration timeout) {
    const Deadline deadline = Deadline::after(since, timeout);
    if (!deadline.passed(now)) {
      next = std::min(next, deadline.when());
    }
    return deadline.passed(now);
  };
  if (doubted_at_.has_value() && passed(*doubted_at_, kSignOfLife)) {
    giveUpInDoubt();
    if (!session_.isOpen()) {
      return next;
    }
  }
  if (!ready_ && passed(connected_at_, limits.preface_timeout)) {
    if (!giveUpHttp2(NotHttp2::kSaid)) {
      finish(StreamEnd::kTimeout, net::CloseReason::kLocal);
    }
  } else if (!settings_acked_ && passed(connected_at_, limits.settings_ack_timeout)) {
    stopOpening();
    session_.terminate(StreamEnd::kTimeout, NGHTTP2_SETTINGS_TIMEOUT);
  } else if (ready_ && session_.streams().empty() &&
             passed(session_.idleSince(), limits.idle_timeout)) {
    stopOpening();
    session_.terminate(StreamEnd::kLocal, NGHTTP2_NO_ERROR);
  }
  return next;
}

}  // namespace penstock::http
