#include "net/http/http2_stream.h"

#include <algorithm>
#include <chrono>

#include <nghttp2/nghttp2.h>

#include "base/check.h"
#include "net/http/http2_headers.h"
#include "net/http/http2_session.h"

namespace penstock::http {

void Http2Stream::queueData(net::Buffer& data, bool end_stream) {
  PENSTOCK_CHECK(head_sent_, "the head is sent before the body");
  PENSTOCK_CHECK(!send_ended_, "nothing is sent after the end of a message");
  if (!on_wire_ || discard_body_) {
    data.clear();
  }
  send_ended_ = end_stream;
  if (!on_wire_) {
    return;
  }
  if (unsent_.empty() && !data.empty()) {
    output_progress_ = session_.loop().now();
    session_.due(output_progress_, session_.limits().write_timeout);
  }
  unsent_.append(data);
  if (send_ended_ && !unsent_.empty()) {
    startLastBytes();
  }
  above_high_ = above_high_ || unsent_.size() > high_watermark_;
  if (deferred_ && (!unsent_.empty() || send_ended_)) {
    deferred_ = false;
    nghttp2_session_resume_data(session_.native(), id_);
  }
  session_.flushLater();
}

bool Http2Stream::fitsPeer(const Headers& fields) const {
  return session_.takesHeaders(headerListBytes(fields));
}

void Http2Stream::startLastBytes() {
  constexpr std::uint64_t kLeastRate = 1024;
  const Limits& limits = session_.limits();
  const std::chrono::seconds at_rate(unsent_.size() / std::max(limits.min_body_rate, kLeastRate));
  last_bytes_due_ =
      Deadline::after(session_.loop().now(), 2 * limits.write_timeout + at_rate).when();
  session_.due(last_bytes_due_);
}

void Http2Stream::queueTrailers(const Headers& trailers) {
  if (!trailers.empty()) {
    trailers_ = std::make_unique<Headers>(trailers);
  }
  net::Buffer nothing;
  queueData(nothing, true);
}

void Http2Stream::resetNow(ResetReason reason) {
  session_.resetStream(*this, reason);
}

bool Http2Stream::holdsPeerBack() const {
  // nghttp2 announces window in halves, so with less than half consumed the peer may stand still.
  return unconsumed_ > session_.limits().stream_window / 2;
}

bool Http2Stream::giveWindow(std::size_t count) {
  PENSTOCK_CHECK(count <= unconsumed_, "only what was received is consumed");
  const bool held_back = holdsPeerBack();
  unconsumed_ -= count;
  if (on_wire_ && !read_ended_ && count > 0) {
    nghttp2_session_consume_stream(session_.native(), id_, count);
    if (nghttp2_session_want_write(session_.native()) != 0) {
      session_.flushLater();
    }
  }
  return held_back && !holdsPeerBack();
}

void Http2Stream::receiveData(std::span<const std::uint8_t> data) {
  unconsumed_ += data.size();
  if (handler_ != nullptr) {
    handler_->onData(data, false);
  }
}

ssize_t Http2Stream::pull(std::size_t max, std::uint32_t* flags) {
  const std::size_t count = std::min(max, unsent_.size());
  const bool unsendable = trailers_ != nullptr && !fitsPeer(*trailers_);
  if (unsendable && count == 0) {
    // All before them is on its way. nghttp2 resets the stream.
    failure_ = StreamEnd::kTooLarge;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  if (count == unsent_.size() && send_ended_ && !unsendable) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (trailers_ != nullptr) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      Http2FieldList fields(session_.fieldRoom());
      fields.addHeaders(*trailers_);
      nghttp2_submit_trailer(session_.native(), id_, fields.data(), fields.size());
      trailers_.reset();
    }
  } else if (count == 0) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(count);
}

void Http2Stream::writePayload(net::Buffer& output, std::size_t count) {
  unsent_.moveTo(output, count);
  framed_bytes_ += count;
  output_progress_ = session_.loop().now();
  if (above_high_ && unsent_.size() <= high_watermark_ / 2) {
    above_high_ = false;
    session_.readyLater(*this);
  }
}

}  // namespace penstock::http
