#include "sidecar/exchange.h"

#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "net/buffer.h"
#include "sidecar/service.h"

namespace penstock::sidecar {
namespace {

constexpr char kAttemptField[] = "x-penstock-attempt-id";
constexpr char kTimeoutField[] = "x-request-timeout-ms";
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

}  // namespace

Exchange::Exchange(Service& service, std::uint64_t id, http::ServerStream& stream, Linger linger)
    : service_(service), id_(id), stream_(&stream), linger_(std::move(linger)) {}

Exchange::~Exchange() {
  service_.release(held_bytes_);
}

void Exchange::onRequestHead(http::RequestHead head, bool end_stream) {
  head_only_ = head.method == "HEAD";
  switch (routeOf(head.method, head.path)) {
    case Route::kPredict:
      beginPredict(head, end_stream);
      return;
    case Route::kLive:
      send(makeReply(200, "application/json", R"({"live":true})"));
      return;
    case Route::kReady:
      if (const auto refusal = service_.unready()) {
        refuse(*refusal);
      } else {
        send(makeReply(200, "application/json", R"({"ready":true})"));
      }
      return;
    case Route::kMetrics:
      send(makeReply(200, "text/plain; version=0.0.4; charset=utf-8", service_.metrics().render()));
      return;
    case Route::kCancel:
      cancelOther(head);
      return;
    case Route::kMethodNotAllowed: {
      service_.countRefusal(Refusal::kMethodNotAllowed);
      Reply reply = makeRefusal(Refusal::kMethodNotAllowed);
      reply.head.headers.add("allow", allowedMethods(head.path));
      send(std::move(reply));
      return;
    }
    case Route::kNotFound:
      refuse(Refusal::kNotFound);
      return;
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

void Exchange::beginPredict(const http::RequestHead& head, bool end_stream) {
  request_id_ = head.headers.get("x-request-id").value_or("");
  if (const auto refusal = service_.unready()) {
    refuse(*refusal);
    return;
  }
  if (head.content_length.value_or(0) > service_.maxRequestBody()) {
    refuse(Refusal::kTooLarge);
    return;
  }
  if (const auto timeout = head.headers.get(kTimeoutField)) {
    const auto duration = parseMilliseconds(*timeout);
    if (!duration.has_value()) {
      refuse(Refusal::kBadRequest, "x-request-timeout-ms: expected whole milliseconds");
      return;
    }
    deadline_ = Deadline::after(service_.clock().now(), *duration);
  }
  attempt_id_ = head.headers.get(kAttemptField).value_or("");
  if (attempt_id_.size() > kLongestAttemptId) {
    refuse(Refusal::kBadRequest, "x-penstock-attempt-id: expected at most 256 characters");
    return;
  }
  service_.addAttempt(attempt_id_, *this);
  input_.content_type = head.headers.get("content-type").value_or("");
  reading_ = true;
  if (end_stream) {
    run();
    return;
  }
  input_.body.reserve(std::min(head.content_length.value_or(0), kReserveAtMost));
  stream_->sendContinue();
}

void Exchange::onData(std::span<const std::uint8_t> data, bool end_stream) {
  stream_->consume(data.size());
  if (!reading_) {
    return;
  }
  if (input_.body.size() + data.size() > service_.maxRequestBody()) {
    refuse(Refusal::kTooLarge);
    return;
  }
  if (!service_.hold(data.size())) {
    refuse(Refusal::kOverloaded);
    return;
  }
  held_bytes_ += data.size();
  input_.body.append(reinterpret_cast<const char*>(data.data()), data.size());
  if (end_stream) {
    run();
  }
}

void Exchange::onTrailers(http::Headers) {
  if (reading_) {
    run();
  }
}

void Exchange::run() {
  reading_ = false;
  if (deadline_.passed(service_.clock().now())) {
    refuse(Refusal::kDeadlineExceeded);
    return;
  }
  auto work = service_.submit(
      {.input = std::move(input_), .request_id = request_id_, .deadline = deadline_}, id_);
  if (!work.has_value()) {
    refuse(work.error());
    return;
  }
  running_ = true;
  work_ = std::move(*work);
}

void Exchange::cancel() {
  if (running_) {
    work_.cancel();
  } else if (!answered_) {
    refuse(Refusal::kCancelled);
  }
}

void Exchange::onOutcome(runtime::Outcome outcome) {
  running_ = false;
  work_ = {};
  service_.removeAttempt(attempt_id_, *this);
  if (stream_ != nullptr) {
    send(makeReply(std::move(outcome)));
    return;
  }
  if (stop_lingering_) {
    stop_lingering_();
  }
  service_.destroy(*this);
}

void Exchange::onEnd(http::StreamEnd) {
  stream_ = nullptr;
  reading_ = false;
  service_.removeAttempt(attempt_id_, *this);
  if (running_) {
    stop_lingering_ = linger_();
    work_.cancel();
  } else {
    service_.destroy(*this);
  }
}

void Exchange::refuse(Refusal refusal, std::string_view message) {
  service_.countRefusal(refusal);
  service_.removeAttempt(attempt_id_, *this);
  send(makeRefusal(refusal, message));
}

void Exchange::send(Reply reply) {
  reading_ = false;
  answered_ = true;
  input_ = {};
  if (!request_id_.empty()) {
    reply.head.headers.add("x-request-id", request_id_);
  }
  if (head_only_ || reply.body.empty()) {
    stream_->sendHead(reply.head, true);
    return;
  }
  stream_->sendHead(reply.head, false);
  net::Buffer body;
  body.append(reply.body);
  stream_->sendData(body, true);
}

}  // namespace penstock::sidecar
