#include "sidecar/load_report_stream.h"

#include <algorithm>
#include <string>

#include "base/load_report/load_report_message.h"
#include "net/buffer.h"
#include "sidecar/load_reporter.h"

namespace penstock::sidecar {
namespace {

constexpr Duration kShortestInterval = std::chrono::milliseconds(100);
constexpr Duration kDefaultInterval = std::chrono::seconds(1);
constexpr std::size_t kMaxRequestBytes = 4096;
constexpr std::size_t kMaxUnsentBytes = 64 * 1024;
using enum http::GrpcStatus;

http::ResponseHead grpcHead() {
  http::ResponseHead head;
  head.headers.add("content-type", http::kGrpcContentType);
  head.headers.add("x-penstock-sidecar", "1");
  return head;
}

}  // namespace

LoadReportStream::LoadReportStream(LoadReporter& reporter, http::ServerStream& stream)
    : reporter_(reporter),
      stream_(stream),
      reader_(kMaxRequestBytes),
      due_(reporter.loop(), [this] { sendDue(); }) {}

LoadReportStream::~LoadReportStream() {
  reporter_.unsubscribe(*this);
}

void LoadReportStream::begin(const http::RequestHead& head, bool end_stream) {
  if (!http::isGrpc(head.headers)) {
    http::ResponseHead refusal;
    refusal.status = 415;
    refusal.headers.add("x-penstock-sidecar", "1");
    ended_ = true;
    stream_.sendHead(refusal, true);
    return;
  }
  if (end_stream) {
    onRequestEnd();
  }
}

void LoadReportStream::onData(std::span<const std::uint8_t> data, bool end_stream) {
  stream_.consume(data.size());
  if (ended_) {
    return;
  }
  using Outcome = http::GrpcMessageReader::Outcome;
  const Outcome outcome = reader_.read(data);
  if (outcome == Outcome::kMessage && !asked_.has_value()) {
    asked_ = parseLoadReportRequest(reader_.message());
    if (!asked_.has_value()) {
      end(kInvalidArgument, "expected an OrcaLoadReportRequest");
      return;
    }
  } else if (outcome != Outcome::kMore || !data.empty()) {
    end(kInvalidArgument, "expected one short message without compression");
    return;
  }
  if (end_stream) {
    onRequestEnd();
  }
}

void LoadReportStream::onRequestEnd() {
  if (ended_ || subscribed_) {
    return;
  }
  if (!asked_.has_value() || !reader_.atBoundary()) {
    end(kInvalidArgument, "expected an OrcaLoadReportRequest");
  } else if (reporter_.draining()) {
    end(kUnavailable, "draining");
  } else {
    subscribe(*asked_);
  }
}

void LoadReportStream::subscribe(Duration interval) {
  subscribed_ = reporter_.subscribe(*this);
  if (!subscribed_) {
    end(kResourceExhausted, "there are enough subscribers");
    return;
  }
  interval_ =
      interval > Duration::zero() ? std::max(interval, kShortestInterval) : kDefaultInterval;
  send(reporter_.report());
}

void LoadReportStream::sendDue() {
  send(reporter_.report());
}

void LoadReportStream::send(const LoadReport& report) {
  if (ended_) {
    return;
  }
  due_.armAfter(interval_);
  if (stream_.unsentBytes() > kMaxUnsentBytes) {
    return;
  }
  if (!head_sent_) {
    head_sent_ = true;
    stream_.sendHead(grpcHead(), false);
  }
  net::Buffer body;
  http::appendGrpcMessage(body, toMessage(report));
  stream_.sendData(body, false);
}

void LoadReportStream::end(http::GrpcStatus status, std::string_view message) {
  if (ended_) {
    return;
  }
  ended_ = true;
  due_.disarm();
  reporter_.unsubscribe(*this);
  http::ResponseHead head = grpcHead();
  http::Headers trailers;
  http::Headers& fields = head_sent_ ? trailers : head.headers;
  http::addGrpcStatus(fields, status);
  if (!message.empty()) {
    fields.add("grpc-message", message);
  }
  if (head_sent_) {
    stream_.sendTrailers(trailers);
  } else {
    stream_.sendHead(head, true);
  }
}

}  // namespace penstock::sidecar
