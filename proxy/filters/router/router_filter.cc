#include "proxy/filters/router/router_filter.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/load_report/load_report_header.h"
#include "net/http/grpc.h"
#include "proxy/http/client_fields.h"
#include "proxy/http/request_deadline.h"
#include "proxy/upstream/abandoned_request.h"

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
  attempt_.dispatched = exchange_.loop().now();
  ++report.attempts;
  report.replica = slot.replica().name;
  attempt_.upstream =
      std::make_unique<UpstreamRequest>(exchange_.cluster(), std::move(slot), *this);
  head.headers.remove("x-penstock-attempt-id");
  if (!attempt_.upstream->attemptId().empty()) {
    head.headers.add("x-penstock-attempt-id", attempt_.upstream->attemptId());
  }
  askForLoadReport(head.headers);
  if (exchange_.isWebSocket()) {
    // They end when it is accepted, but a replica would take them for the whole.
    removeTimeouts(head.headers);
  } else {
    setRemainingTime(head.headers, exchange_.deadline().remaining(attempt_.dispatched));
  }
  if (exchange_.route().first_byte_timeout) {
    exchange_.setTimer(*this,
                       Deadline::after(attempt_.dispatched, *exchange_.route().first_byte_timeout));
  }
  attempt_.upstream->start();
  return FilterStatus::kStop;
}

// A client that wants a report for itself gets it in the form that it asked for.
void RouterFilter::askForLoadReport(http::Headers& headers) {
  if (std::exchange(asked_for_report_, false)) {
    headers.remove(kLoadReportFormatHeader);
  }
  if (attempt_.upstream->wantsLoadReport() && !headers.has(kLoadReportFormatHeader)) {
    headers.add(kLoadReportFormatHeader, "TEXT");
    asked_for_report_ = true;
  }
}

void RouterFilter::onUpstreamReady() {
  attempt_.sent = Attempt::Sent::kHead;
  if (exchange_.isWebSocket() && !attempt_.upstream->takesWebSockets()) {
    attempt_.upstream->takeSlot().release();
    discardUpstream();
    exchange_.reply(Reason::kReplicaProtocolError,
                    "the replica takes no WebSockets over HTTP/2 (RFC 8441); its cluster may say "
                    "protocol: http1");
    return;
  }
  attempt_.upstream->setHighWatermark(exchange_.route().request_buffer.count);
  const bool complete = exchange_.requestComplete() && exchange_.requestBody().empty() &&
                        exchange_.requestTrailers().empty();
  attempt_.sent = complete ? Attempt::Sent::kAll : Attempt::Sent::kHead;
  declareLength();
  attempt_.upstream->sendHead(exchange_.requestHead(), complete);
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
  if (attempt_.upstream->protocol() == http::Protocol::kHttp11 && !exchange_.isWebSocket() &&
      exchange_.requestComplete() && exchange_.requestTrailers().empty() && size > 0) {
    head.content_length = size;
  }
}

void RouterFilter::onRequestBody() {
  if (mayHaveBegun() && (!exchange_.isWebSocket() || exchange_.isTunnel())) {
    forwardBody();
  }
}

void RouterFilter::forwardBody() {
  net::Buffer& body = exchange_.requestBody();
  const bool complete = exchange_.requestComplete();
  if (sentAll() || attempt_.upstream == nullptr || (body.empty() && !complete)) {
    return;
  }
  replay_.keep(body, complete, exchange_.route().request_buffer.count, exchange_.responseStarted());
  const http::Headers& trailers = exchange_.requestTrailers();
  attempt_.sent = complete ? Attempt::Sent::kAll : Attempt::Sent::kHead;
  attempt_.upstream->sendData(body, complete && trailers.empty());
  if (complete && !trailers.empty()) {
    attempt_.upstream->sendTrailers(trailers);
  }
  touch();
  if (exchange_.isTunnel() && complete) {
    exchange_.setTimer(*this, due());
  }
  accountBacklog();
}

// The copy shares the memory of what has not gone out yet.
void RouterFilter::accountBacklog() {
  exchange_.setUpstreamBacklog(replay_.keepsCopy() ? replay_.size()
                                                   : attempt_.upstream->unsentBytes());
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
  replay_.drop();
  exchange_.report().replica_time = exchange_.loop().now() - attempt_.dispatched;
  head.headers.remove("x-penstock-sidecar");
  if (asked_for_report_) {
    head.headers.remove(kLoadReportHeader);
  }
  touch();
  if (!end_stream) {
    exchange_.setTimer(*this, Deadline::after(attempt_.last_activity, idleLimit()));
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
  if (!sentAll() && attempt_.upstream != nullptr) {
    attempt_.upstream->takeSlot().release();
    discardUpstream();
  }
}

// What the client has not taken yet fits its buffer: the replica may send more.
void RouterFilter::onResponseSendReady() {
  if (attempt_.upstream != nullptr && unconsumed_ > 0 &&
      exchange_.unsentResponseBytes() <= exchange_.route().response_buffer.count) {
    attempt_.upstream->consume(std::exchange(unconsumed_, 0));
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
  Slot slot = attempt_.upstream->takeSlot();
  discardUpstream();
  if (!mayTryAgain(cause) || !replay_.isWhole()) {
    return false;
  }
  replay_.restore(exchange_.requestBody());
  attempt_ = {};
  exchange_.setUpstreamBacklog(0);
  if (!exchange_.putBack(slot, cause)) {
    return false;
  }
  exchange_.cluster().cluster().countRetry();
  return true;
}

bool RouterFilter::awaitsUpload() const {
  return mayHaveBegun() && !exchange_.requestComplete() &&
         (!exchange_.isWebSocket() || exchange_.isTunnel());
}

Deadline RouterFilter::due() const {
  const Deadline idle = Deadline::after(attempt_.last_activity, idleLimit());
  if (exchange_.responseStarted()) {
    return idle;
  }
  const auto& first_byte = exchange_.route().first_byte_timeout;
  return std::min(
      awaitsUpload() ? idle : Deadline::never(),
      first_byte ? Deadline::after(attempt_.dispatched, *first_byte) : Deadline::never());
}

void RouterFilter::onTimer() {
  if (const Deadline next = due(); !next.passed(exchange_.loop().clock().now())) {
    exchange_.setTimer(*this, next);
    return;
  }
  if (!mayHaveBegun()) {
    onUpstreamFailed(Failure::kRefused);  // it has no stream to be sent on
    return;
  }
  // A replica that does not take what has come is not the client's fault.
  const bool client_is_slow =
      awaitsUpload() && !exchange_.responseStarted() &&
      attempt_.last_activity + idleLimit() <= exchange_.loop().clock().now() &&
      attempt_.upstream->unsentBytes() == 0;
  exchange_.reply(client_is_slow ? Reason::kRequestTimeout : Reason::kReplicaTimeout);
}

void RouterFilter::onRequestDropped() {
  replay_.drop();
  if (attempt_.upstream != nullptr) {
    // What held the replica back is dropped with the rest: its answer comes to an end.
    attempt_.upstream->consume(std::exchange(unconsumed_, 0));
    const Duration grace = exchange_.cluster().config().cancel_grace;
    const Deadline give_up =
        exchange_.isWebSocket()
            ? Deadline::after(exchange_.loop().now(), grace)
            : Deadline::after(exchange_.report().started, exchange_.route().timeout + grace);
    AbandonedRequest::abandon(exchange_.cluster(), std::move(attempt_.upstream), give_up,
                              exchange_.reserveStream());
  }
}

void RouterFilter::discardUpstream() {
  // Often in the middle of one of its callbacks.
  exchange_.loop().destroyLater(std::move(attempt_.upstream));
}

Duration RouterFilter::idleLimit() const {
  const Duration limit = exchange_.route().stream_idle_timeout;
  // A WebSocket's client that has ended its direction may have gone altogether.
  return exchange_.isTunnel() && sentAll()
             ? std::min(limit, exchange_.cluster().config().cancel_grace)
             : limit;
}

void RouterFilter::touch() {
  attempt_.last_activity = exchange_.loop().now();
}

}  // namespace penstock::proxy
