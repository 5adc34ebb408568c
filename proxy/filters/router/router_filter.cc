#include "proxy/filters/router/router_filter.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/load_report/load_report_header.h"
#include "net/http/grpc.h"
#include "proxy/http/client_fields.h"
#include "proxy/http/request_deadline.h"

namespace penstock::proxy {
namespace {

using Failure = UpstreamRequest::Failure;

Reason reasonOf(Failure failure) {
  switch (failure) {
    case Failure::kConnectFailed:
      return Reason::kNoReplica;
    case Failure::kRefused:
    case Failure::kReset:
      return Reason::kReplicaRefusedAfterSend;
    case Failure::kConnectionLost:
    case Failure::kUnanswered:
      return Reason::kReplicaConnectionLost;
    case Failure::kStreamFailed:
      return Reason::kReplicaStreamFailed;
    case Failure::kTooLarge:
      return Reason::kHeadersTooLarge;
    case Failure::kProtocolError:
      break;
  }
  return Reason::kReplicaProtocolError;
}

RetryCause causeOf(Failure failure) {
  return failure == Failure::kConnectFailed ? RetryCause::kNotSent
         : failure == Failure::kRefused     ? RetryCause::kRefused
                                            : RetryCause::kFailed;
}

}  // namespace

FilterStatus RouterFilter::onRequestHead(http::RequestHead& head) {
  ExchangeReport& report = exchange_.report();
  Slot slot = exchange_.takeSlot();
  dispatched_ = exchange_.loop().now();
  ++report.attempts;
  report.replica = slot.replica().name;
  upstream_ = std::make_unique<UpstreamRequest>(exchange_.cluster(), std::move(slot), *this);
  head.headers.remove("x-penstock-attempt-id");
  if (!upstream_->attemptId().empty()) {
    head.headers.add("x-penstock-attempt-id", upstream_->attemptId());
  }
  askForLoadReport(head.headers);
  if (exchange_.isWebSocket()) {
    // They end when it is accepted, but a replica would take them for the whole.
    removeTimeouts(head.headers);
  } else {
    setRemainingTime(head.headers, exchange_.deadline().remaining(dispatched_));
  }
  if (exchange_.route().first_byte_timeout) {
    exchange_.setTimer(*this, Deadline::after(dispatched_, *exchange_.route().first_byte_timeout));
  }
  upstream_->start();
  return FilterStatus::kStop;
}

// A client that wants a report for itself gets it in the form that it asked for.
void RouterFilter::askForLoadReport(http::Headers& headers) {
  if (std::exchange(asked_for_report_, false)) {
    headers.remove(kLoadReportFormatHeader);
  }
  if (upstream_->wantsLoadReport() && !headers.has(kLoadReportFormatHeader)) {
    headers.add(kLoadReportFormatHeader, "TEXT");
    asked_for_report_ = true;
  }
}

void RouterFilter::onUpstreamReady() {
  ready_ = true;
  if (exchange_.isWebSocket() && !upstream_->takesWebSockets()) {
    upstream_->takeSlot().release();
    discardUpstream();
    exchange_.reply(Reason::kReplicaProtocolError,
                    "the replica takes no WebSockets over HTTP/2 (RFC 8441); its cluster may say "
                    "protocol: http1");
    return;
  }
  upstream_->setHighWatermark(exchange_.route().request_buffer.count);
  const bool complete = exchange_.requestComplete() && exchange_.requestBody().empty() &&
                        exchange_.requestTrailers().empty();
  request_sent_ = complete;
  declareLength();
  upstream_->sendHead(exchange_.requestHead(), complete);
  touch();
  if (awaitsUpload()) {
    exchange_.setTimer(*this, due());
  }
  onRequestBody();
}

// Many servers of HTTP/1.1 (those of WSGI) read no body without a length.
void RouterFilter::declareLength() {
  http::RequestHead& head = exchange_.requestHead();
  const std::size_t size = exchange_.requestBody().size();
  if (upstream_->protocol() == http::Protocol::kHttp11 && !exchange_.isWebSocket() &&
      exchange_.requestComplete() && exchange_.requestTrailers().empty() && size > 0) {
    head.content_length = size;
  }
}

void RouterFilter::onRequestBody() {
  if (ready_ && (!exchange_.isWebSocket() || exchange_.isTunnel())) {
    forwardBody();
  }
}

void RouterFilter::forwardBody() {
  net::Buffer& body = exchange_.requestBody();
  const bool complete = exchange_.requestComplete();
  if (request_sent_ || upstream_ == nullptr || (body.empty() && !complete)) {
    return;
  }
  keepCopy(body, complete);
  body_touched_ = true;
  const http::Headers& trailers = exchange_.requestTrailers();
  request_sent_ = complete;
  upstream_->sendData(body, complete && trailers.empty());
  if (complete && !trailers.empty()) {
    upstream_->sendTrailers(trailers);
  }
  touch();
  if (exchange_.isTunnel() && complete) {
    exchange_.setTimer(*this, due());
  }
  accountBacklog();
}

// A copy is kept of a whole body, and of the beginning of one that goes out as it comes as long as
// that fits the request's buffer.
void RouterFilter::keepCopy(const net::Buffer& piece, bool complete) {
  if (!body_touched_) {
    replay_kept_ = !exchange_.responseStarted();
  }
  if (replay_kept_ &&
      (complete || replay_.size() + piece.size() <= exchange_.route().request_buffer.count)) {
    piece.copyTo(replay_);
  } else {
    replay_.clear();
    replay_kept_ = false;
  }
}

// The copy shares the memory of what has not gone out yet.
void RouterFilter::accountBacklog() {
  exchange_.setUpstreamBacklog(replay_kept_ ? replay_.size() : upstream_->unsentBytes());
}

void RouterFilter::onUpstreamSendReady() {
  accountBacklog();
}

void RouterFilter::onUpstreamInformational(http::ResponseHead head) {
  // 100 is between the client and us.
  if (head.status != 100) {
    exchange_.sendInformational(head);
  }
}

void RouterFilter::onUpstreamHead(http::ResponseHead head, bool end_stream) {
  replay_.clear();
  replay_kept_ = false;
  exchange_.report().replica_time = exchange_.loop().now() - dispatched_;
  head.headers.remove("x-penstock-sidecar");
  if (asked_for_report_) {
    head.headers.remove(kLoadReportHeader);
  }
  touch();
  if (!end_stream) {
    exchange_.setTimer(*this, Deadline::after(last_activity_, idleLimit()));
  }
  accountBacklog();
  if (translateRefusal(head)) {
    return;
  }
  exchange_.sendResponseHead(std::move(head), end_stream);
  if (end_stream) {
    endEarly();
  } else if (exchange_.isTunnel()) {
    forwardBody();
  }
}

bool RouterFilter::translateRefusal(const http::ResponseHead& head) {
  const auto reason = head.headers.get("x-penstock-reason");
  if (!exchange_.isGrpc() || !reason || http::isGrpc(head.headers)) {
    return false;
  }
  LocalReply refusal = makeGrpcReply(grpcStatusOf(head.status),
                                     "the replica refused the request: " + std::string(*reason));
  refusal.head.headers.add("x-penstock-reason", *reason);
  exchange_.sendResponseHead(std::move(refusal.head), true);
  return true;
}

void RouterFilter::onUpstreamData(std::span<const std::uint8_t> data, bool end_stream) {
  touch();
  exchange_.sendResponseData(data, end_stream);
  unconsumed_ += data.size();
  onResponseSendReady();
  if (end_stream) {
    endEarly();
  }
}

void RouterFilter::onUpstreamTrailers(http::Headers trailers) {
  removeOwnFields(trailers);
  if (asked_for_report_) {
    trailers.remove(kLoadReportHeader);
  }
  exchange_.sendResponseTrailers(trailers);
  endEarly();
}

void RouterFilter::endEarly() {
  if (!request_sent_ && upstream_ != nullptr) {
    upstream_->takeSlot().release();
    discardUpstream();
  }
}

// What the client has not taken yet fits its buffer: the replica may send more.
void RouterFilter::onResponseSendReady() {
  if (upstream_ != nullptr && unconsumed_ > 0 &&
      exchange_.unsentResponseBytes() <= exchange_.route().response_buffer.count) {
    upstream_->consume(std::exchange(unconsumed_, 0));
  }
}

void RouterFilter::onUpstreamEnd() {
  discardUpstream();
}

void RouterFilter::onUpstreamFailed(Failure failure) {
  // No replica of the cluster is asked to take what one cannot.
  const bool may_retry =
      failure != Failure::kTooLarge && !exchange_.responseStarted() &&
      (UpstreamRequest::provablyNotExecuted(failure) ||
       (!exchange_.isWebSocket() &&
        (exchange_.route().idempotent || (failure == Failure::kUnanswered && isSafe()))));
  const RetryCause cause = causeOf(failure);
  connect_failures_ += cause == RetryCause::kNotSent ? 1 : 0;
  if (cause == RetryCause::kFailed) {
    ++failures_;
    exchange_.report().failed_attempt = reasonOf(failure);
  }
  if (may_retry && retry(cause)) {
    return;
  }
  discardUpstream();
  exchange_.replyNotAdmitted(reasonOf(failure));
}

// What may be sent again without asking, where it may not have been seen (RFC 9110 9.2.2).
bool RouterFilter::isSafe() const {
  const std::string& method = exchange_.requestHead().method;
  return method == "GET" || method == "HEAD";
}

bool RouterFilter::mayTryAgain(RetryCause cause) const {
  const ClusterConfig& config = exchange_.cluster().config();
  switch (cause) {
    case RetryCause::kNotSent:
      return connect_failures_ < config.max_connect_attempts;
    case RetryCause::kFailed:
      return failures_ < config.retry.max_attempts;
    case RetryCause::kRefused:
      break;
  }
  return true;
}

bool RouterFilter::retry(RetryCause cause) {
  Slot slot = upstream_->takeSlot();
  discardUpstream();
  if (!mayTryAgain(cause) || !bodyIsWhole()) {
    return false;
  }
  if (replay_kept_) {
    exchange_.requestBody() = std::move(replay_);
    replay_ = {};
  }
  ready_ = false;
  request_sent_ = false;
  body_touched_ = false;
  replay_kept_ = false;
  exchange_.setUpstreamBacklog(0);
  if (!exchange_.putBack(slot, cause)) {
    return false;
  }
  exchange_.cluster().cluster().countRetry();
  return true;
}

bool RouterFilter::awaitsUpload() const {
  return ready_ && !exchange_.requestComplete() &&
         (!exchange_.isWebSocket() || exchange_.isTunnel());
}

Deadline RouterFilter::due() const {
  const Deadline idle = Deadline::after(last_activity_, idleLimit());
  if (exchange_.responseStarted()) {
    return idle;
  }
  const auto& first_byte = exchange_.route().first_byte_timeout;
  return std::min(awaitsUpload() ? idle : Deadline::never(),
                  first_byte ? Deadline::after(dispatched_, *first_byte) : Deadline::never());
}

void RouterFilter::onTimer() {
  if (const Deadline next = due(); !next.passed(exchange_.loop().clock().now())) {
    exchange_.setTimer(*this, next);
    return;
  }
  if (!ready_) {
    onUpstreamFailed(Failure::kRefused);  // it has no stream to be sent on
    return;
  }
  // A replica that does not take what has come is not the client's fault.
  const bool client_is_slow = awaitsUpload() && !exchange_.responseStarted() &&
                              last_activity_ + idleLimit() <= exchange_.loop().clock().now() &&
                              upstream_->unsentBytes() == 0;
  exchange_.reply(client_is_slow ? Reason::kRequestTimeout : Reason::kReplicaTimeout);
}

void RouterFilter::onRequestDropped() {
  replay_.clear();
  if (upstream_ != nullptr) {
    // What held the replica back is dropped with the rest: its answer comes to an end.
    upstream_->consume(std::exchange(unconsumed_, 0));
    const Duration grace = exchange_.cluster().config().cancel_grace;
    const Deadline give_up =
        exchange_.isWebSocket()
            ? Deadline::after(exchange_.loop().now(), grace)
            : Deadline::after(exchange_.report().started, exchange_.route().timeout + grace);
    UpstreamRequest::abandon(std::move(upstream_), give_up, exchange_.linger());
  }
}

void RouterFilter::discardUpstream() {
  // Often in the middle of one of its callbacks.
  exchange_.loop().destroyLater(std::move(upstream_));
}

Duration RouterFilter::idleLimit() const {
  const Duration limit = exchange_.route().stream_idle_timeout;
  // A WebSocket's client that has ended its direction may have gone altogether.
  return exchange_.isTunnel() && request_sent_
             ? std::min(limit, exchange_.cluster().config().cancel_grace)
             : limit;
}

void RouterFilter::touch() {
  last_activity_ = exchange_.loop().now();
}

}  // namespace penstock::proxy
