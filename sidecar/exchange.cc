#include "sidecar/exchange.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "net/buffer.h"
#include "net/http/grpc.h"
#include "sidecar/route.h"
#include "sidecar/service.h"

namespace penstock::sidecar {
namespace {

constexpr char kAttemptField[] = "x-penstock-attempt-id";
constexpr std::string_view kTimeoutField = "x-request-timeout-ms";
constexpr std::size_t kLongestAttemptId = 256;
// Bodies larger than this are not believed before they come.
constexpr std::uint64_t kReserveAtMost = 1 << 20;

// Whole milliseconds in at most 12 digits (31 years).
std::optional<Duration> parseMilliseconds(std::string_view text) {
  std::uint64_t milliseconds = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, milliseconds);
  if (text.empty() || text.size() > 12 || error != std::errc() || stop != end) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(milliseconds);
}

// The proxy tells by it whether what runs the model failed (INTERNAL_ERROR) or this sidecar gave
// the response up, for which the model is not to blame (CANCEL).
http::ResetReason resetReason(Refusal why) {
  switch (why) {
    case Refusal::kCancelled:
    case Refusal::kDeadlineExceeded:
    case Refusal::kStreamStalled:
    case Refusal::kClientStalled:
      return http::ResetReason::kCancel;
    default:
      return http::ResetReason::kInternal;
  }
}

}  // namespace

Exchange::Exchange(Service& service, std::uint64_t id, http::ServerStream& stream,
                   ReserveStream reserve_stream, const std::optional<Ends>& ends)
    : service_(service), id_(id), stream_(&stream), reserve_stream_(std::move(reserve_stream)) {
  work_.ends = ends;
}

Exchange::~Exchange() {
  service_.release(held_bytes_);
}

void Exchange::onRequestHead(http::RequestHead head, bool end_stream) {
  head_only_ = head.method == "HEAD";
  switch (routeOf(head.method, head.path)) {
    case Route::kLive:
      if (service_.executor().live()) {
        send(makeReply(200, "application/json", R"({"live":true})"));
      } else {
        send(makeReply(503, "application/json", R"({"live":false})"));
      }
      return;
    case Route::kReady:
      askReadiness();
      return;
    case Route::kMetrics:
      send(makeReply(200, "text/plain; version=0.0.4; charset=utf-8", service_.metrics().render()));
      return;
    case Route::kCancel:
      cancelOther(head);
      return;
    case Route::kReports:
      reports_.emplace(service_.loadReporter(), *stream_);
      reports_->begin(head, end_stream);
      return;
    case Route::kMethodNotAllowed:
      send(makeMethodNotAllowed(allowedMethods(head.path)));
      return;
    case Route::kModel:
      begin(std::move(head), end_stream);
      return;
  }
}

void Exchange::askReadiness() {
  if (service_.executor().unready().has_value() || !service_.executor().asksHealth()) {
    answerReadiness(true);
    return;
  }
  service_.executor().askHealth([&service = service_, id = id_](bool healthy) {
    if (Exchange* const exchange = service.find(id)) {
      exchange->answerReadiness(healthy);
    }
  });
}

void Exchange::answerReadiness(bool healthy) {
  if (const auto refusal = service_.executor().unready()) {
    refuse(*refusal);
  } else if (healthy) {
    send(makeReply(200, "application/json", R"({"ready":true})"));
  } else {
    refuse(Refusal::kNotReady, "The model's is_healthy() does not say that it is well.");
  }
}

void Exchange::cancelOther(const http::RequestHead& head) {
  const auto attempt = head.headers.get(kAttemptField);
  if (!attempt.has_value()) {
    refuse(Refusal::kBadRequest, "expected the field x-penstock-attempt-id");
  } else if (service_.cancelAttempt(*attempt)) {
    send(makeReply(202, "application/json", R"({"cancelled":true})"));
  } else {
    refuse(Refusal::kNotFound, "no request of that attempt runs here");
  }
}

void Exchange::begin(http::RequestHead head, bool end_stream) {
  request_id_ = head.headers.get("x-request-id").value_or("");
  // Proxies know a refusal by its status, and tell their clients themselves.
  error_style_ = http::isGrpc(head.headers) && !head.headers.get(kAttemptField).has_value()
                     ? ErrorStyle::kGrpc
                     : service_.executor().errorStyle(head);
  report_format_ = parseLoadReportFormat(head.headers.get(kLoadReportFormatHeader).value_or(""));
  auto intake = service_.executor().intake(head);
  if (!intake.has_value()) {
    send(std::move(intake.error()));
    return;
  }
  if (!readLimits(head)) {
    return;
  }
  intake_ = *intake;
  service_.addAttempt(attempt_id_, *this);
  const std::uint64_t expected_bytes = head.content_length.value_or(0);
  work_.head = std::move(head);
  reading_ = true;
  if (intake_ == Intake::kStreamed || !attempt_id_.empty()) {
    // Its deadline bounds it, or the proxy that sent it.
    stream_->liftBodyPace();
  }
  if (intake_ == Intake::kStreamed) {
    run();
    if (running_) {
      stream_->sendContinue();
    }
    if (running_ && end_stream) {
      service_.executor().sendData(work_id_, {}, true);
    }
    return;
  }
  if (end_stream) {
    run();
    return;
  }
  // A client that asks first is not made to send a body for nothing.
  if (const auto refusal = refusalBeforeBody(expected_bytes);
      refusal.has_value() && stream_->awaitsContinue()) {
    refuse(*refusal);
    return;
  }
  work_.body.reserve(std::min(expected_bytes, kReserveAtMost));
  stream_->sendContinue();
}

std::optional<Refusal> Exchange::refusalBeforeBody(std::uint64_t body_bytes) const {
  if (work_.deadline.passed(service_.loop().clock().now())) {
    return Refusal::kDeadlineExceeded;
  }
  if (service_.executor().inFlight() >= service_.options().load.limit) {
    return Refusal::kConcurrencyLimit;
  }
  return service_.couldHold(body_bytes) ? std::nullopt : std::optional(Refusal::kOverloaded);
}

// False if it has been refused.
bool Exchange::readLimits(const http::RequestHead& head) {
  if (head.content_length.value_or(0) > service_.options().max_request_body) {
    refuse(Refusal::kTooLarge);
    return false;
  }
  for (const auto [name, value] : head.headers) {
    if (name != kTimeoutField) {
      continue;
    }
    const auto duration = parseMilliseconds(value);
    if (!duration.has_value()) {
      refuse(Refusal::kBadRequest, "x-request-timeout-ms: expected whole milliseconds");
      return false;
    }
    const TimePoint now = service_.loop().clock().now();
    work_.deadline = std::min(work_.deadline, Deadline::after(now, *duration));
  }
  attempt_id_ = head.headers.get(kAttemptField).value_or("");
  if (attempt_id_.size() > kLongestAttemptId) {
    attempt_id_.clear();
    refuse(Refusal::kBadRequest, "x-penstock-attempt-id: expected at most 256 characters");
    return false;
  }
  return true;
}

void Exchange::onData(std::span<const std::uint8_t> data, bool end_stream) {
  if (reports_.has_value()) {
    reports_->onData(data, end_stream);
    return;
  }
  if (running_ && intake_ == Intake::kStreamed) {
    service_.executor().sendData(work_id_, data, end_stream);
    return;
  }
  stream_->consume(data.size());
  if (!reading_) {
    return;
  }
  if (work_.body.size() + data.size() > service_.options().max_request_body) {
    refuse(Refusal::kTooLarge);
    return;
  }
  if (!hold(data.size())) {
    refuse(Refusal::kOverloaded);
    return;
  }
  work_.body.append(reinterpret_cast<const char*>(data.data()), data.size());
  if (end_stream) {
    run();
  }
}

void Exchange::onTrailers(http::Headers) {
  if (reports_.has_value()) {
    reports_->onRequestEnd();
  } else if (running_ && intake_ == Intake::kStreamed) {
    service_.executor().sendData(work_id_, {}, true);
  } else if (reading_) {
    run();
  }
}

void Exchange::run() {
  reading_ = false;
  if (work_.deadline.passed(service_.loop().clock().now())) {
    refuse(Refusal::kDeadlineExceeded);
    return;
  }
  work_.request_id = request_id_;
  auto id = service_.executor().submit(std::move(work_), *this);
  if (!id.has_value()) {
    send(std::move(id.error()));
    return;
  }
  running_ = true;
  work_id_ = *id;
  service_.loadReporter().changed();
}

void Exchange::cancel() {
  if (running_) {
    service_.executor().cancel(work_id_);
  } else if (answer_ == Answer::kNone) {
    refuse(Refusal::kCancelled);
  }
}

void Exchange::onReply(Reply reply) {
  workEnded();
  service_.loadReporter().answered(reply.head.status);
  if (stream_ != nullptr) {
    send(std::move(reply));
  }
}

void Exchange::onHead(http::ResponseHead head) {
  if (stream_ == nullptr) {
    return;
  }
  addOwnFields(head.headers);
  if (!stream_->fits(head.headers)) {
    service_.loadReporter().answered(500);
    refuse(Refusal::kResponseFieldsTooLarge);
    answer_ = Answer::kReplaced;
    return;
  }
  answer_ = Answer::kGiven;
  service_.loadReporter().answered(head.status);
  stream_->sendHead(head, false);
}

void Exchange::onData(std::string_view data) {
  if (stream_ == nullptr || answer_ == Answer::kReplaced) {
    service_.executor().consumed(work_id_, data.size());
    return;
  }
  net::Buffer buffer;
  buffer.append(data);
  stream_->sendData(buffer, false);
  sent_bytes_ += data.size();
  uncredited_bytes_ += data.size();
  if (stream_->unsentBytes() <= http::Stream::kDefaultHighWatermark) {
    creditSent();
  } else if (!stalled_.has_value()) {
    stalled_.emplace(service_.loop(), [this] { onStalled(); });
    stalled_->armAfter(service_.options().write_timeout);
    written_when_stalled_ = sent_bytes_ - stream_->unsentBytes();
  }
}

// A slow reader is not one that reads nothing.
void Exchange::onStalled() {
  const std::size_t written = sent_bytes_ - stream_->unsentBytes();
  if (std::exchange(written_when_stalled_, written) == written) {
    giveUp(Refusal::kClientStalled);
  } else {
    stalled_->armAfter(service_.options().write_timeout);
  }
}

void Exchange::onSendReady() {
  creditSent();
}

void Exchange::creditSent() {
  stalled_.reset();
  if (const std::size_t bytes = std::exchange(uncredited_bytes_, 0); bytes > 0 && running_) {
    service_.executor().consumed(work_id_, bytes);
  }
}

void Exchange::onFinished(const http::Headers& trailers) {
  workEnded();
  if (stream_ == nullptr || answer_ == Answer::kReplaced) {
    return;
  }
  if (trailers.empty()) {
    net::Buffer nothing;
    stream_->sendData(nothing, true);
  } else {
    stream_->sendTrailers(trailers);
  }
}

// The client must not take what it has for the whole. The reset comes after the flush of what was
// sent in this turn, which it would overtake.
void Exchange::onAborted(Refusal why) {
  workEnded();
  if (stream_ != nullptr && answer_ != Answer::kReplaced) {
    service_.responseBroke(why, request_id_);
    abort_.emplace(service_.loop(), [this, reason = resetReason(why)] {
      std::exchange(stream_, nullptr)->reset(reason);
      service_.destroy(*this);
    });
    abort_->schedule();
  }
}

void Exchange::onGivenUp(Refusal why) {
  if (stream_ != nullptr) {
    giveUp(why);
  }
}

void Exchange::onConsumed(std::size_t bytes) {
  if (stream_ != nullptr) {
    stream_->consume(bytes);
  }
}

bool Exchange::hold(std::size_t bytes) {
  const bool fits = service_.hold(bytes);
  held_bytes_ += fits ? bytes : 0;
  return fits;
}

void Exchange::release(std::size_t bytes) {
  held_bytes_ -= bytes;
  service_.release(bytes);
}

// If the stream has ended before, so does this exchange.
void Exchange::workEnded() {
  running_ = false;
  stalled_.reset();
  service_.loadReporter().changed();
  service_.removeAttempt(attempt_id_, *this);
  if (stream_ != nullptr) {
    return;
  }
  service_.destroy(*this);
}

void Exchange::giveUp(Refusal why) {
  service_.responseBroke(why, request_id_);
  std::exchange(stream_, nullptr)->reset(resetReason(why));
  onEnd(http::StreamEnd::kTimeout);
}

void Exchange::onEnd(http::StreamEnd) {
  stream_ = nullptr;
  reports_.reset();
  reading_ = false;
  stalled_.reset();
  abort_.reset();
  service_.removeAttempt(attempt_id_, *this);
  if (running_) {
    reservation_ = reserve_stream_();
    service_.executor().cancel(work_id_);
  } else {
    service_.destroy(*this);
  }
}

void Exchange::refuse(Refusal refusal, std::string_view message) {
  send(makeRefusal(refusal, message));
}

void Exchange::send(Reply reply) {
  reading_ = false;
  answer_ = Answer::kGiven;
  work_ = {};
  service_.removeAttempt(attempt_id_, *this);
  if (reply.refusal.has_value()) {
    service_.countRefusal(*reply.refusal);
    applyStyle(reply, error_style_);
  }
  addOwnFields(reply.head.headers);
  if (!stream_->fits(reply.head.headers)) {
    reply = makeRefusal(Refusal::kResponseFieldsTooLarge);
    service_.countRefusal(*reply.refusal);
    applyStyle(reply, error_style_);
    addOwnFields(reply.head.headers);
  }
  if (head_only_ || reply.body.empty()) {
    stream_->sendHead(reply.head, true);
    return;
  }
  stream_->sendHead(reply.head, false);
  net::Buffer body;
  body.take(std::move(reply.body));
  stream_->sendData(body, true);
}

void Exchange::addOwnFields(http::Headers& headers) const {
  headers.set("x-penstock-sidecar", "1");
  if (!request_id_.empty()) {
    headers.set("x-request-id", request_id_);
  }
  if (report_format_.has_value()) {
    headers.set(kLoadReportHeader, toHeader(service_.loadReporter().report(), *report_format_));
  }
}

}  // namespace penstock::sidecar
