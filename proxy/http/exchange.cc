#include "proxy/http/exchange.h"

#include <algorithm>

#include "net/http/field_rules.h"
#include "net/http/grpc.h"
#include "proxy/http/client_fields.h"
#include "proxy/http/request_deadline.h"

namespace penstock::proxy {
namespace {

constexpr std::string_view kTooManyFields =
    "the response's header fields are more than this client takes";

Reason reasonOf(http::StreamEnd end) {
  switch (end) {
    case http::StreamEnd::kProtocolError:
      return Reason::kBadRequest;
    case http::StreamEnd::kTooLarge:
      return Reason::kReplicaProtocolError;
    default:
      return Reason::kClientGone;
  }
}

}  // namespace

Exchange::Exchange(const ExchangeContext& context, http::ServerStream& stream, Owner& owner,
                   http::Protocol protocol, const ClientAddress& client)
    : context_(context),
      stream_(&stream),
      owner_(owner),
      protocol_(protocol),
      client_(client),
      timer_(context.loop, [this] { onTimer(); }) {
  report_.start_time = std::chrono::system_clock::now();
  report_.started = context.loop.now();
}

void Exchange::onRequestHead(http::RequestHead head, bool end_stream) {
  head_ = std::move(head);
  request_complete_ = end_stream;
  kind_ = kindOf(head_);
  filters_.reserve(context_.filters.size());
  for (const auto& make : context_.filters) {
    filters_.push_back(make(*this));
  }
  if (!acceptHead()) {
    return;
  }
  armTimer();
  prepareHead();
  position_ = static_cast<std::size_t>(-1);
  continueRequest();
  if (dropped_ || stream_ == nullptr) {
    return;
  }
  if (isDuplex()) {
    inviteBody();
  } else if (!end_stream) {
    stream_->sendContinue();
  }
}

void Exchange::inviteBody() {
  if (stream_ != nullptr) {
    stream_->sendContinue();
    stream_->liftBodyPace();
  }
}

Exchange::Kind Exchange::kindOf(const http::RequestHead& head) {
  if (head.isWebSocket()) {
    return Kind::kWebSocket;
  }
  return http::isGrpc(head.headers) ? Kind::kGrpc : Kind::kPlain;
}

std::string_view Exchange::clusterName() const {
  return cluster_ == nullptr ? std::string_view() : cluster_->cluster().name();
}

// Whether the request may go on; if not, it has been answered.
bool Exchange::acceptHead() {
  if (head_.path == "*") {
    // OPTIONS *, which asks for the server as a whole (RFC 9110 §9.3.7).
    http::ResponseHead options = makeOptionsReply();
    dropRequest();
    sendResponseHead(std::move(options), true);
    return false;
  }
  const auto [route, cluster_index] = context_.routes.match(head_.authority, head_.path);
  if (route == nullptr) {
    reply(Reason::kNotFound);
    return false;
  }
  route_ = route;
  stream_->setHighWatermark(route->response_buffer.count);
  cluster_ = context_.clusters[cluster_index].get();
  const Result<std::optional<Duration>> timeout = requestTimeout(head_.headers);
  if (!timeout) {
    reply(Reason::kBadRequest, timeout.error().message);
    return false;
  }
  deadline_is_clients_ = *timeout && **timeout < route->timeout;
  deadline_ = Deadline::after(report_.started, deadline_is_clients_ ? **timeout : route->timeout);
  if (const auto expected = head_.headers.get("expect");
      expected && !http::equalsIgnoreCase(*expected, "100-continue")) {
    reply(Reason::kExpectationFailed);
    return false;
  }
  if (head_.content_length && *head_.content_length > route->max_request_body.count) {
    reply(Reason::kPayloadTooLarge);
    return false;
  }
  if (context_.budget.exceeded()) {
    reply(Reason::kOverloaded);
    return false;
  }
  return true;
}

void Exchange::prepareHead() {
  head_.headers.remove("expect");
  setOrigin(head_,
            {.peer = client_.host, .is_trusted = client_.is_trusted, .is_tls = context_.is_tls});
}

void Exchange::continueRequest() {
  while (!dropped_) {
    Filter& filter = *filters_[++position_];
    if (filter.onRequestHead(head_) == FilterStatus::kStop) {
      break;
    }
  }
  if (!dropped_ && (request_complete_ || !body_.empty())) {
    filters_[position_]->onRequestBody();
  }
  updateBuffered();
}

bool Exchange::onUnreadable(http::Rejection why, std::string_view detail) {
  reply(proxy::reasonOf(why), detail);
  return true;
}

void Exchange::onData(std::span<const std::uint8_t> data, bool end_stream) {
  unconsumed_ += data.size();
  if (dropped_) {
    updateBuffered();
    return;
  }
  report_.bytes_received += data.size();
  if (report_.bytes_received > route_->max_request_body.count && !isWebSocket()) {
    reply(Reason::kPayloadTooLarge);
    return;
  }
  request_complete_ = end_stream;
  body_.append(data);
  filters_[position_]->onRequestBody();
  updateBuffered();
}

void Exchange::onTrailers(http::Headers trailers) {
  request_complete_ = true;
  if (!dropped_) {
    trailers_ = std::move(trailers);
    removeOwnFields(trailers_);
    filters_[position_]->onRequestBody();
  }
}

// The client may send more as long as what it sent before fits the request's buffer; what waits
// with its body still to come, and a WebSocket until it is accepted, not beyond the first window.
void Exchange::updateBuffered() {
  const bool may_flow = isWebSocket() ? responseStarted() : !isDuplex() || report_.attempts > 0;
  if (stream_ != nullptr && unconsumed_ > 0 &&
      (dropped_ ||
       (may_flow && body_.size() + upstream_backlog_ <= route_->request_buffer.count))) {
    stream_->consume(std::exchange(unconsumed_, 0));
  }
  const auto buffered =
      static_cast<std::int64_t>(body_.size() + upstream_backlog_ + unsentResponseBytes());
  if (buffered != accounted_) {
    context_.budget.add(buffered - accounted_);
    accounted_ = buffered;
  }
}

void Exchange::setUpstreamBacklog(std::size_t bytes) {
  upstream_backlog_ = bytes;
  updateBuffered();
}

void Exchange::setTimer(Filter& filter, Deadline when) {
  timer_filter_ = &filter;
  filter_deadline_ = when;
  armTimer();
}

void Exchange::armTimer() {
  timer_.arm(std::min(deadline_, filter_deadline_).when());
}

void Exchange::onTimer() {
  const TimePoint now = loop().clock().now();
  if (filter_deadline_.passed(now)) {
    filter_deadline_ = Deadline::never();
    timer_filter_->onTimer();
  }
  if (dropped_ || stream_ == nullptr) {
    return;
  }
  if (deadline_.passed(now)) {
    replyOutOfTime();
  } else {
    armTimer();
  }
}

void Exchange::replyOutOfTime() {
  if (admitted() && filters_.back()->mayHaveBegun()) {
    reply(deadline_is_clients_ ? Reason::kDeadlineExceeded : Reason::kReplicaTimeout);
  } else {
    replyNotAdmitted(!request_complete_ && !isDuplex()            ? Reason::kRequestTimeout
                     : cluster_->cluster().queue().anyAvailable() ? Reason::kQueueTimeout
                                                                  : Reason::kNoReplica);
  }
}

void Exchange::replyNotAdmitted(Reason reason) {
  reply(report_.failed_attempt == Reason::kNone ? reason : report_.failed_attempt);
}

Slot Exchange::takeSlot() {
  inviteBody();
  return std::move(slot_);
}

bool Exchange::putBack(Slot& slot, RetryCause cause) {
  for (std::size_t i = position_; i-- > 0;) {
    if (filters_[i]->onPutBack(slot, cause)) {
      position_ = i;
      return true;
    }
  }
  return false;
}

void Exchange::refuseIfNotAdmitted() {
  if (!admitted() && !dropped_) {
    replyNotAdmitted(Reason::kDraining);
  }
}

void Exchange::endTunnel() {
  if (isTunnel()) {
    reply(Reason::kDraining);
  }
}

void Exchange::reply(Reason reason, std::string_view detail) {
  if (stream_ == nullptr || response_ == Response::kEnded) {
    return;
  }
  report_.reason = reason;
  dropRequest();
  if (responseStarted()) {
    endBegunResponse(reason, detail);
    return;
  }
  const Duration retry_after =
      cluster_ == nullptr ? Duration::zero() : cluster_->cluster().queue().estimatedWait();
  const std::string_view request_id = head_.headers.get("x-request-id").value_or("");
  LocalReply answer = makeLocalReply(reason, detail, request_id, kind_ == Kind::kGrpc, retry_after);
  const std::string body = head_.method == "HEAD" ? std::string() : std::move(answer.body);
  sendResponseHead(std::move(answer.head), body.empty());
  if (!body.empty()) {
    sendResponseData({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, true);
  }
}

void Exchange::endBegunResponse(Reason reason, std::string_view detail) {
  const bool reads_status = std::exchange(response_, Response::kEnded) == Response::kBegunGrpc;
  if (reads_status) {
    const http::Headers trailers = makeGrpcTrailers(reason, detail);
    if (stream_->fits(trailers)) {
      stream_->sendTrailers(trailers);
      return;
    }
  }
  // After the flush of what was sent in this turn, which the reset would overtake.
  abort_.emplace(loop(), [this] {
    report_.bytes_sent = stream_->bodyBytesSent();
    std::exchange(stream_, nullptr)->reset(http::ResetReason::kInternal);
    finish();
  });
  abort_->schedule();
}

void Exchange::sendInformational(const http::ResponseHead& head) {
  if (stream_ != nullptr && !responseStarted()) {
    stream_->sendInformational(head.status, head.headers);
  }
}

void Exchange::sendResponseHead(http::ResponseHead head, bool end_stream) {
  if (stream_ == nullptr || responseStarted()) {
    return;
  }
  // A body of a declared length has no room for trailers, nor has HTTP/1 for a reader of gRPC.
  const bool reads_status = kind_ == Kind::kGrpc && protocol_ == http::Protocol::kHttp2 &&
                            http::isGrpc(head.headers) && !head.content_length;
  response_ = end_stream     ? Response::kEnded
              : reads_status ? Response::kBegunGrpc
                             : Response::kBegun;
  report_.status = head.status;
  if (isWebSocket() && head.status == 200) {
    response_ = Response::kTunnel;
    report_.status = protocol_ == http::Protocol::kHttp2 ? 200 : 101;  // as the client sees it
    deadline_ = Deadline::never();
    armTimer();
  }
  for (std::size_t i = filters_.size(); i-- > 0;) {
    filters_[i]->onResponseHead(head);
  }
  if (!stream_->fits(head.headers)) {
    response_ = Response::kNone;
    reply(Reason::kReplicaProtocolError, kTooManyFields);
    return;
  }
  stream_->sendHead(head, end_stream);
}

void Exchange::sendResponseData(std::span<const std::uint8_t> data, bool end_stream) {
  if (stream_ == nullptr || response_ == Response::kEnded) {
    return;
  }
  if (end_stream) {
    response_ = Response::kEnded;
  }
  net::Buffer buffer;
  buffer.append(data);
  stream_->sendData(buffer, end_stream);
  updateBuffered();
}

void Exchange::sendResponseTrailers(const http::Headers& trailers) {
  if (stream_ == nullptr || response_ == Response::kEnded) {
    return;
  }
  if (response_ == Response::kBegunGrpc && !stream_->fits(trailers)) {
    reply(Reason::kReplicaProtocolError, kTooManyFields);
    return;
  }
  response_ = Response::kEnded;
  stream_->sendTrailers(trailers);
}

void Exchange::onSendReady() {
  updateBuffered();
  if (!dropped_) {
    filters_.back()->onResponseSendReady();
  }
}

void Exchange::onEnd(http::StreamEnd end) {
  report_.bytes_sent = std::exchange(stream_, nullptr)->bodyBytesSent();
  abort_.reset();
  if (end != http::StreamEnd::kComplete && report_.reason == Reason::kNone) {
    report_.reason = reasonOf(end);
    if (!responseStarted()) {
      report_.status = outcomeOf(report_.reason).status;
    }
  }
  finish();
}

void Exchange::dropRequest() {
  if (std::exchange(dropped_, true)) {
    return;
  }
  timer_.disarm();
  slot_.release();
  body_.clear();
  for (const auto& filter : filters_) {
    filter->onRequestDropped();
  }
  upstream_backlog_ = 0;
  updateBuffered();
}

void Exchange::finish() {
  dropRequest();
  context_.budget.add(-std::exchange(accounted_, 0));
  report_.total = loop().clock().now() - report_.started;
  if (cluster_ != nullptr) {
    cluster_->cluster().countOutcome(report_.status, report_.reason);
    cluster_->cluster().observeTotal(report_.total);
  }
  for (const auto& filter : filters_) {
    filter->onExchangeEnd(report_);
  }
  owner_.onExchangeEnd(*this);
}

}  // namespace penstock::proxy
