#include "net/http/http2_server_stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <nghttp2/nghttp2.h>

#include "base/check.h"
#include "net/http/http2_callbacks.h"
#include "net/http/http2_headers.h"
#include "net/http/http2_session.h"

namespace penstock::http {

namespace {

constexpr std::chrono::seconds kRateWindow(10);

}  // namespace

void Http2ServerStream::sendInformational(int status, const Headers& headers) {
  PENSTOCK_CHECK(status >= 100 && status < 200 && status != 101, "an informational status");
  PENSTOCK_CHECK(!head_sent_, "informational responses precede the response");
  if (!on_wire_) {
    return;
  }
  Http2FieldList fields(session_.fieldRoom());
  fields.addStatus(status);
  fields.addHeaders(headers);
  if (!session_.takesHeaders(fields.bytes())) {
    return;  // the response to come says what matters
  }
  nghttp2_submit_headers(session_.native(), NGHTTP2_FLAG_NONE, id_, nullptr, fields.data(),
                         fields.size(), nullptr);
  session_.flushLater();
}

void Http2ServerStream::sendContinue() {
  if (!awaitsContinue()) {
    return;
  }
  body_clock_ = BodyClock::kRuns;
  startBodyClock();
  sendInformational(100, Headers());
}

void Http2ServerStream::liftBodyPace() {
  body_clock_ = BodyClock::kLifted;
}

void Http2ServerStream::sendHead(const ResponseHead& head, bool end_stream) {
  PENSTOCK_CHECK(!head_sent_, "a request is answered once");
  PENSTOCK_CHECK(head.status >= 200, "sendInformational() sends 1xx");
  head_sent_ = true;
  if (end_stream) {
    send_ended_ = true;
  }
  if (!on_wire_) {
    return;
  }
  const bool no_content = head.status == 204 || head.status == 304;
  discard_body_ = is_head_request_ || no_content;
  Http2FieldList fields(session_.fieldRoom());
  fields.addStatus(head.status);
  fields.addHeaders(head.headers, is_websocket_);
  if (head.status != 204 && !(is_websocket_ && head.status == 200)) {
    fields.addContentLength(head.content_length, head.headers);
  }
  if (!session_.takesHeaders(fields.bytes())) {
    session_.failLater(*this, StreamEnd::kTooLarge, NGHTTP2_INTERNAL_ERROR);
    return;
  }
  const nghttp2_data_provider body = http2Body();
  nghttp2_submit_response(session_.native(), id_, fields.data(), fields.size(),
                          end_stream ? nullptr : &body);
  session_.flushLater();
}

// What was in the connection's buffer when it ended may have been any stream's, and so this one's.
std::uint64_t Http2ServerStream::bodyBytesSent() const {
  const net::Connection& connection = session_.connection();
  const std::uint64_t lost = connection.isOpen() ? 0 : connection.unwritten();
  return framed_bytes_ - std::min(lost, framed_bytes_);
}

void Http2ServerStream::consume(std::size_t count) {
  if (giveWindow(count)) {
    startBodyClock();
  }
}

void Http2ServerStream::receiveData(std::span<const std::uint8_t> data) {
  if (body_clock_ == BodyClock::kUntilContinue) {
    body_clock_ = BodyClock::kRuns;
    startBodyClock();
  }
  body_progress_ = session_.loop().now();
  rate_bytes_ += data.size();
  Http2Stream::receiveData(data);
}

bool Http2ServerStream::awaitsBody() const {
  return !read_ended_ && handler_ != nullptr && !head_sent_ && body_clock_ == BodyClock::kRuns &&
         !holdsPeerBack();
}

void Http2ServerStream::startBodyClock() {
  if (!awaitsBody()) {
    return;
  }
  const TimePoint now = session_.loop().now();
  body_progress_ = now;
  rate_from_ = now;
  rate_bytes_ = 0;
  session_.due(now, std::min<Duration>(session_.limits().body_idle_timeout, kRateWindow));
}

Http2ServerStream::DeadlineCheck Http2ServerStream::checkDeadlines(TimePoint now) {
  const Limits& limits = session_.limits();
  DeadlineCheck result;
  const auto lookAgain = [&](TimePoint from, Duration timeout) {
    result.next = std::min(result.next, Deadline::after(from, timeout).when());
  };
  if (!unsent_.empty()) {
    if (now - output_progress_ >= limits.write_timeout || now >= last_bytes_due_) {
      result.overdue = Overdue::kOutput;
      return result;
    }
    lookAgain(output_progress_, limits.write_timeout);
    result.next = std::min(result.next, last_bytes_due_);
  }
  if (!awaitsBody()) {
    return result;
  }
  if (now - rate_from_ >= kRateWindow) {
    const auto wanted = limits.min_body_rate * static_cast<std::uint64_t>(kRateWindow.count());
    if (rate_bytes_ < wanted) {
      result.overdue = Overdue::kBody;
      return result;
    }
    rate_from_ = now;
    rate_bytes_ = 0;
  }
  if (now - body_progress_ >= limits.body_idle_timeout) {
    result.overdue = Overdue::kBody;
    return result;
  }
  lookAgain(rate_from_, kRateWindow);
  lookAgain(body_progress_, limits.body_idle_timeout);
  return result;
}

}  // namespace penstock::http
