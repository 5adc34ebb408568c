#include "net/http/http1_client_connection.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "net/http/http1_connections.h"
#include "net/http/websocket.h"

namespace penstock::http {

using net::PauseReason;

std::unique_ptr<ClientCodec> makeHttp1Client(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, ClientConnection::Owner& owner) {
  return std::make_unique<Http1ClientConnection>(loop, std::move(connection), limits, owner);
}

Http1ClientConnection::Http1ClientConnection(net::EventLoop& loop,
                                             std::unique_ptr<net::Connection> connection,
                                             const Limits& limits, Owner& owner)
    : loop_(loop),
      connection_(std::move(connection)),
      limits_(limits),
      owner_(owner),
      reader_(Http1BlockReader::Start::kStatusLine, limits),
      timer_(loop, [this] { onTimer(); }),
      work_(loop, [this] { onWork(); }),
      idle_since_(loop.now()) {}

bool Http1ClientConnection::canOpen() const {
  if (!connected_ || handler_ != nullptr || !keep_alive_ || closing_) {
    return false;
  }
  // What was read in this very turn needs no second look.
  return idle_since_ == loop_.now() || connection_->nothingToRead();
}

ClientStream& Http1ClientConnection::newStream(ResponseHandler& handler) {
  PENSTOCK_CHECK(connected_ && handler_ == nullptr && keep_alive_ && !closing_,
                 "a stream is opened only when canOpen()");
  timer_.disarm();
  ++requests_;
  freed_ = false;
  handler_ = &handler;
  websocket_key_.clear();
  held_.clear();
  unconsumed_ = 0;
  queued_ = 0;
  informational_ = 0;
  high_watermark_ = kDefaultHighWatermark;
  to_head_ = head_sent_ = request_done_ = started_ = response_begun_ = above_watermark_ = false;
  answered_ = false;
  tunnel_ = false;
  return *this;
}

void Http1ClientConnection::close() {
  closing_ = true;
  timer_.disarm();
  work_.cancel();
  connection_->close();
  if (handler_ != nullptr) {
    endStream(StreamEnd::kLocal);
  }
}

void Http1ClientConnection::onConnected() {
  if (connection_->alpn() == "h2") {
    closeNow(net::CloseReason::kHandshakeFailed);
    return;
  }
  connected_ = true;
  idle_since_ = loop_.now();
  timer_.arm(idle_since_ + limits_.idle_timeout);
  owner_.onReady(*this);
}

void Http1ClientConnection::onBytes(std::span<const std::uint8_t> bytes) {
  if (closing_) {
    return;
  }
  if (handler_ == nullptr || !started()) {
    // Nothing was asked. A stream that has just been opened has not written a byte.
    closeNow(net::CloseReason::kLocal);
    if (handler_ != nullptr) {
      endStream(lost());
    }
    return;
  }
  if (!std::exchange(answered_, true) && bytes.front() == 0 && owner_.onHttp2Greeting(*this)) {
    // A server of HTTP/2 has run no request of HTTP/1.1.
    closeNow(net::CloseReason::kLocal);
    endStream(StreamEnd::kRefused);
    return;
  }
  std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  process(view);
}

void Http1ClientConnection::process(std::string_view& input) {
  while (!closing_ && handler_ != nullptr && !input.empty()) {
    const auto step = reader_.next(input);
    bool complete = false;
    if (!step.has_value()) {
      closeNow(net::CloseReason::kLocal);
      endStream(StreamEnd::kProtocolError);
      return;
    }
    switch (step->event) {
      case Http1Reader::Event::kNeedMore:
        break;
      case Http1Reader::Event::kHead:
        complete = onHead(step->bytes);
        break;
      case Http1Reader::Event::kData:
        complete = step->last;
        onBody(step->bytes, step->last);
        break;
      case Http1Reader::Event::kEnd:
        complete = true;
        onTrailerSection();
        break;
    }
    if (complete && !closing_ && handler_ != nullptr) {
      finishResponse(!input.empty());
      return;
    }
  }
}

bool Http1ClientConnection::onHead(std::string_view block) {
  auto response = readResponse(block, limits_, to_head_);
  if (response.has_value() && accepts(*response)) {
    beginTunnel(*response);
    return false;
  }
  const bool informational = response.has_value() && response->head.status < 200;
  if (!response.has_value() || response->head.status == 101 ||
      (informational && ++informational_ > limits_.max_informational)) {
    closeNow(net::CloseReason::kLocal);
    endStream(StreamEnd::kProtocolError);
    return false;
  }
  reader_.beginBody(response->framing);
  if (informational) {
    // "100 Continue" answers an expectation, and none was sent.
    if (response->head.status != 100) {
      handler_->onInformational(std::move(response->head));
    }
    return false;
  }
  response_begun_ = true;
  if (!websocket_key_.empty() && response->head.status < 300) {
    response->head.status = 501;  // to the next hop it would say that the WebSocket is there
  }
  const bool end = response->framing.kind == Http1Framing::Kind::kNone;
  if (!response->keep_alive) {
    keep_alive_ = false;
    owner_.onDraining(*this);
  }
  if (handler_ != nullptr) {
    handler_->onResponseHead(std::move(response->head), end);
  }
  return end;
}

bool Http1ClientConnection::accepts(const Http1Response& response) const {
  const Headers& headers = response.head.headers;
  return response.head.status == 101 && !websocket_key_.empty() && response.upgrades_to_websocket &&
         headers.count("sec-websocket-accept") == 1 &&
         headers.get("sec-websocket-accept") == webSocketAccept(websocket_key_);
}

void Http1ClientConnection::beginTunnel(Http1Response& response) {
  reader_.beginBody({.kind = Http1Framing::Kind::kUntilClose});
  writer_.beginTunnel();
  response.head.status = 200;
  removeWebSocketHandshake(response.head.headers);
  tunnel_ = response_begun_ = true;
  keep_alive_ = false;
  owner_.onDraining(*this);
  if (handler_ == nullptr) {
    return;
  }
  started_ = true;
  if (!held_.empty() || request_done_) {
    writer_.writeData(connection_->output(), held_, request_done_);
    onRequestWritten(true);
  }
  handler_->onResponseHead(std::move(response.head), false);
}

void Http1ClientConnection::onBody(std::string_view bytes, bool last) {
  unconsumed_ += bytes.size();
  if (!last && unconsumed_ > limits_.stream_window) {
    connection_->pause(PauseReason::kBodyBuffered);
  }
  handler_->onData({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, last);
}

void Http1ClientConnection::onTrailerSection() {
  Headers trailers = reader_.takeTrailers();
  if (trailers.empty()) {
    handler_->onData({}, true);
  } else {
    handler_->onTrailers(std::move(trailers));
  }
}

void Http1ClientConnection::finishResponse(bool junk) {
  const bool reusable = keep_alive_ && !junk && request_done_ && connection_->output().empty();
  if (!reusable) {
    keep_alive_ = false;
    closeNow(net::CloseReason::kLocal);
    endStream(StreamEnd::kComplete);
    return;
  }
  idle_since_ = loop_.now();
  connection_->resume(PauseReason::kBodyBuffered);
  endStream(StreamEnd::kComplete);
  if (closing_ || handler_ != nullptr) {
    return;
  }
  timer_.arm(idle_since_ + limits_.idle_timeout);
  owner_.onCapacity(*this);
}

void Http1ClientConnection::onFillOutput(net::Buffer& output) {
  if (handler_ == nullptr) {
    return;
  }
  started_ = started_ || !output.empty();
  if (above_watermark_ && unsentBytes() <= high_watermark_ / 2) {
    above_watermark_ = false;
    if (!request_done_) {
      handler_->onSendReady();
    }
  }
}

void Http1ClientConnection::onPeerClosed() {
  if (closing_) {
    return;
  }
  const bool complete = handler_ != nullptr && reader_.endsAtClose();
  if (complete) {
    handler_->onData({}, true);
    if (closing_) {
      return;
    }
  }
  closeNow(net::CloseReason::kPeerClosed);
  if (handler_ != nullptr) {
    endStream(complete ? StreamEnd::kComplete : lost());
  }
}

void Http1ClientConnection::onClosed(net::CloseReason reason) {
  closing_ = true;
  timer_.disarm();
  work_.cancel();
  if (handler_ != nullptr) {
    endStream(reason == net::CloseReason::kWriteTimeout ? StreamEnd::kTimeout : lost());
  }
  owner_.onConnectionClosed(*this, reason);
}

void Http1ClientConnection::sendHead(const RequestHead& head, bool end_stream) {
  PENSTOCK_CHECK(!head_sent_, "a request has one head");
  if (closing_) {
    return;
  }
  head_sent_ = true;
  to_head_ = head.method == "HEAD";
  // A request of HTTP/1.0 may have no authority, and HTTP/1.1 needs one.
  const std::string host = head.authority.empty() ? connection_->peer().toString() : std::string();
  if (head.isWebSocket()) {
    websocket_key_ = newWebSocketKey();
  }
  writer_.beginRequest(connection_->output(), head, end_stream, host, websocket_key_);
  request_done_ = end_stream;
  queued_ = connection_->output().size();
  connection_->flushLater();
}

void Http1ClientConnection::sendData(net::Buffer& data, bool end_stream) {
  PENSTOCK_CHECK(head_sent_, "the head of a request comes first");
  if (closing_ || request_done_) {
    data.clear();
    return;
  }
  started_ = started();
  const bool early = !websocket_key_.empty() && !response_begun_;
  bool whole = true;
  if (early) {
    held_.append(data);
  } else {
    whole = writer_.writeData(connection_->output(), data, end_stream);
  }
  above_watermark_ = above_watermark_ || unsentBytes() > high_watermark_;
  request_done_ = end_stream;
  onRequestWritten(whole);
}

void Http1ClientConnection::sendTrailers(const Headers& trailers) {
  PENSTOCK_CHECK(head_sent_, "the head of a request comes first");
  if (closing_ || request_done_) {
    return;
  }
  request_done_ = true;
  started_ = started();
  onRequestWritten(writer_.writeTrailers(connection_->output(), trailers));
}

// The connection asks for output only while little waits, so onFillOutput misses a large body.
bool Http1ClientConnection::started() const {
  return started_ || connection_->output().size() < queued_;
}

void Http1ClientConnection::onRequestWritten(bool whole) {
  queued_ = connection_->output().size();
  if (whole && request_done_ && tunnel_) {
    connection_->endOutput();
  } else if (whole) {
    connection_->flushLater();
  } else {
    // The body is not what the head declared: the peer could only misread what comes next. The
    // handler is in the midst of a call, and is told later.
    closeNow(net::CloseReason::kLocal);
  }
}

void Http1ClientConnection::reset(ResetReason) {
  handler_ = nullptr;
  if (closing_) {
    return;
  }
  if (head_sent_) {
    closeNow(net::CloseReason::kLocal);
    return;
  }
  idle_since_ = loop_.now();
  timer_.arm(idle_since_ + limits_.idle_timeout);
  freed_ = true;
  work_.schedule();
}

void Http1ClientConnection::consume(std::size_t count) {
  unconsumed_ -= std::min(count, unconsumed_);
  if (unconsumed_ <= limits_.stream_window / 2) {
    connection_->resume(PauseReason::kBodyBuffered);
  }
}

void Http1ClientConnection::endStream(StreamEnd how) {
  std::exchange(handler_, nullptr)->onEnd(how);
}

StreamEnd Http1ClientConnection::lost() const {
  if (!started()) {
    return StreamEnd::kRefused;
  }
  return requests_ > 1 && !answered_ ? StreamEnd::kUnanswered : StreamEnd::kConnectionLost;
}

void Http1ClientConnection::closeNow(net::CloseReason reason) {
  // Closing drops the output that tells.
  started_ = started();
  queued_ = 0;
  closing_ = true;
  closed_ = reason;
  timer_.disarm();
  connection_->close();
  work_.schedule();
}

void Http1ClientConnection::onWork() {
  if (closed_.has_value()) {
    if (handler_ != nullptr) {
      endStream(StreamEnd::kLocal);
    }
    owner_.onConnectionClosed(*this, *closed_);
  } else if (std::exchange(freed_, false) && handler_ == nullptr) {
    owner_.onCapacity(*this);
  }
}

void Http1ClientConnection::onTimer() {
  const TimePoint due = idle_since_ + limits_.idle_timeout;
  if (handler_ != nullptr) {
    return;
  }
  if (due > loop_.now()) {
    timer_.arm(due);
  } else {
    closeNow(net::CloseReason::kLocal);
  }
}

}  // namespace penstock::http
