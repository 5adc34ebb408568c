#include "net/http/http1_server_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::http {

void Http1ServerStream::begin(const Http1Request& request) {
  http10_ = request.http10;
  to_head_ = request.head.method == "HEAD";
  expects_continue_ = request.expects_continue;
  websocket_key_ = request.websocket_key;
  high_watermark_ = kDefaultHighWatermark;
  head_sent_ = response_done_ = above_watermark_ = false;
  body_bytes_ = wire_bytes_ = 0;
}

void Http1ServerStream::onProgress() {
  if (above_watermark_ && unsentBytes() <= high_watermark_ / 2) {
    above_watermark_ = false;
    if (handler_ != nullptr && !response_done_) {
      handler_->onSendReady();
    }
  }
}

void Http1ServerStream::end(StreamEnd how) {
  RequestHandler* const handler = std::exchange(handler_, nullptr);
  handler->onEnd(how);
}

void Http1ServerStream::sendInformational(int status, const Headers& headers) {
  PENSTOCK_CHECK(!head_sent_, "informational responses come before the response");
  // HTTP/1.0 knows none; 100 is sendContinue()'s, and 101 would end HTTP. A replica may send
  // either.
  if (http10_ || status <= 101 || status > 199) {
    return;
  }
  Http1Writer::writeInformational(transport_.output(), status, headers);
  transport_.flushLater();
}

void Http1ServerStream::sendContinue() {
  if (!awaitsContinue()) {
    return;
  }
  expects_continue_ = false;
  Http1Writer::writeInformational(transport_.output(), 100, {});
  transport_.flushLater();
  transport_.onContinued();
}

void Http1ServerStream::sendHead(const ResponseHead& head, bool end_stream) {
  PENSTOCK_CHECK(!head_sent_, "a response has one head");
  head_sent_ = true;
  // A client that waits for "100 Continue" may or may not send its body after another answer.
  const bool keep_alive = transport_.mayKeepAlive(end_stream) && !expects_continue_;
  transport_.onHeadSent(writer_.beginResponse(transport_.output(), head,
                                              {.end_stream = end_stream,
                                               .to_head = to_head_,
                                               .http10 = http10_,
                                               .keep_alive = keep_alive,
                                               .websocket_key = websocket_key_}));
  if (!websocket_key_.empty() && head.status == 200) {
    transport_.onAccepted();
  }
  if (end_stream) {
    endResponse(true);
  } else {
    transport_.flushLater();
  }
}

void Http1ServerStream::sendData(net::Buffer& data, bool end_stream) {
  PENSTOCK_CHECK(head_sent_, "the head of a response comes first");
  if (response_done_) {
    data.clear();  // More than was declared.
    return;
  }
  const std::size_t before = unsentBytes();
  const std::uint64_t offered = data.size();
  const bool whole = writer_.writeData(transport_.output(), data, end_stream);
  const std::uint64_t written = unsentBytes() - before;
  body_bytes_ += std::min(offered, written);
  wire_bytes_ += written;
  above_watermark_ = above_watermark_ || unsentBytes() > high_watermark_;
  if (end_stream || !whole) {
    endResponse(whole);
  } else {
    transport_.flushLater();
  }
}

std::uint64_t Http1ServerStream::bodyBytesSent() const {
  const std::uint64_t unwritten = std::min<std::uint64_t>(transport_.unwritten(), wire_bytes_);
  if (unwritten == 0) {
    return body_bytes_;
  }
  const double share =
      static_cast<double>(wire_bytes_ - unwritten) / static_cast<double>(wire_bytes_);
  return static_cast<std::uint64_t>(static_cast<double>(body_bytes_) * share);
}

void Http1ServerStream::sendTrailers(const Headers& trailers) {
  PENSTOCK_CHECK(head_sent_, "the head of a response comes first");
  if (!response_done_) {
    endResponse(writer_.writeTrailers(transport_.output(), trailers));
  }
}

// What there is of a response is still written: over HTTP/1.1 its end tells that it is not whole,
// while an HTTP/1.0 client would take it for the whole.
void Http1ServerStream::reset(ResetReason) {
  handler_ = nullptr;
  transport_.onReset(response_done_ || (head_sent_ && !http10_));
}

void Http1ServerStream::endResponse(bool whole) {
  response_done_ = true;
  transport_.onResponseEnded(whole);
}

}  // namespace penstock::http
