#include "proxy/upstream/upstream_request.h"

#include "base/load_report/load_report_header.h"
#include "net/http/grpc.h"
#include "proxy/upstream/upstream_cluster.h"

namespace penstock::proxy {
namespace {

UpstreamRequest::Failure failureOf(http::StreamEnd end, bool response_begun) {
  using Failure = UpstreamRequest::Failure;
  switch (end) {
    case http::StreamEnd::kRefused:
      return response_begun ? Failure::kStreamFailed : Failure::kRefused;
    case http::StreamEnd::kPeerReset:
      return response_begun ? Failure::kStreamFailed : Failure::kReset;
    case http::StreamEnd::kProtocolError:
      return UpstreamRequest::Failure::kProtocolError;
    case http::StreamEnd::kTooLarge:
      return UpstreamRequest::Failure::kTooLarge;
    case http::StreamEnd::kUnanswered:
      return Failure::kUnanswered;
    case http::StreamEnd::kComplete:
    case http::StreamEnd::kConnectionLost:
    case http::StreamEnd::kTimeout:
    case http::StreamEnd::kLocal:
      break;
  }
  return UpstreamRequest::Failure::kConnectionLost;
}

bool saysNotExecuted(const http::ResponseHead& head) {
  return head.status == 503 && head.headers.get("x-penstock-not-executed") == "true";
}

void learnKind(Cluster& cluster, Replica& replica, const http::ResponseHead& head) {
  ReplicaKind known = replica.kind.load(std::memory_order_relaxed);
  if (known == ReplicaKind::kSidecar) {
    return;
  }
  if (head.headers.has("x-penstock-sidecar")) {
    cluster.replicaIsSidecar(replica);
  } else if (known == ReplicaKind::kUnknown) {
    // Another thread may just have learnt better.
    replica.kind.compare_exchange_strong(known, ReplicaKind::kPlain, std::memory_order_relaxed);
  }
}

}  // namespace

UpstreamRequest::UpstreamRequest(UpstreamCluster& cluster, Slot slot, Owner& owner)
    : cluster_(cluster), slot_(std::move(slot)), owner_(&owner) {
  const Replica& chosen = slot_.replica();
  if (chosen.kind.load(std::memory_order_relaxed) != ReplicaKind::kPlain) {
    attempt_id_ = cluster.nextAttemptId();
  }
  const TimePoint stream_holds_until = chosen.stream_holds_until.load(std::memory_order_relaxed);
  wants_load_report_ = chosen.isSidecar() && cluster.loop().now() >= stream_holds_until;
}

UpstreamRequest::~UpstreamRequest() {
  if (stream_ != nullptr) {
    stream_->reset(http::ResetReason::kCancel);
  }
}

void UpstreamRequest::start() {
  slot_.replica().requests.fetch_add(1, std::memory_order_relaxed);
  cluster_.pool(slot_.replica()).wait(*this);
}

void UpstreamRequest::sendHead(const http::RequestHead& head, bool end_stream) {
  request_sent_ = end_stream;
  kind_ = head.isWebSocket()           ? Kind::kWebSocket
          : http::isGrpc(head.headers) ? Kind::kGrpc
                                       : Kind::kPlain;
  stream_->sendHead(head, end_stream);
}

void UpstreamRequest::sendData(net::Buffer& data, bool end_stream) {
  request_sent_ = end_stream;
  stream_->sendData(data, end_stream);
}

void UpstreamRequest::sendTrailers(const http::Headers& trailers) {
  request_sent_ = true;
  stream_->sendTrailers(trailers);
}

void UpstreamRequest::consume(std::size_t count) {
  if (stream_ != nullptr) {
    stream_->consume(count);
  }
}

std::size_t UpstreamRequest::unsentBytes() const {
  return stream_ == nullptr ? 0 : stream_->unsentBytes();
}

Slot UpstreamRequest::takeSlot() {
  stopWaiting();
  if (http::ClientStream* stream = std::exchange(stream_, nullptr)) {
    stream->reset(http::ResetReason::kCancel);
  }
  return std::move(slot_);
}

bool UpstreamRequest::mayBeRunning() const {
  if (stream_ == nullptr || !stream_->started() ||
      cluster_.config().on_client_gone != OnClientGone::kWait) {
    return false;
  }
  if (kind_ != Kind::kWebSocket && request_sent_) {
    return true;
  }
  // Such a server works on what it has, and sees the stream's end; a sidecar says when the model
  // has come to its end as well.
  return kind_ != Kind::kPlain && slot_.replica().isSidecar();
}

void UpstreamRequest::abandon(std::unique_ptr<UpstreamRequest> request, Deadline give_up,
                              std::move_only_function<void()> ended) {
  UpstreamRequest& r = *request;
  r.owner_ = nullptr;
  if (!r.mayBeRunning()) {
    request.reset();
    ended();
    return;
  }
  r.stream_->doubt();
  r.ended_ = std::move(ended);
  r.give_up_.emplace(r.cluster_.loop(), [&r] { r.finishAbandoned(); });
  r.give_up_->arm(give_up.when());
  if (r.slot_.replica().isSidecar() && !r.attempt_id_.empty()) {
    r.cluster_.cancel(r.slot_.replica(), r.attempt_id_);
  }
  r.cluster_.adopt(std::move(request));
}

void UpstreamRequest::finishAbandoned() {
  give_up_->disarm();
  std::unique_ptr<UpstreamRequest> self = cluster_.release(*this);
  slot_ = takeSlot();
  slot_.release();
  ended_();
  cluster_.loop().destroyLater(std::move(self));
}

void UpstreamRequest::onConnection(http::ClientConnection& connection) {
  stream_ = &connection.newStream(*this);
  takes_websockets_ = connection.takesWebSockets();
  protocol_ = connection.protocol();
  owner_->onUpstreamReady();
}

void UpstreamRequest::onConnectFailed(net::CloseReason, std::string_view why) {
  cluster_.cluster().replicaUnreachable(slot_.replica(), why);
  owner_->onUpstreamFailed(Failure::kConnectFailed);
}

void UpstreamRequest::onNoStream() {
  cluster_.cluster().replicaRefused(slot_);
  owner_->onUpstreamFailed(Failure::kRefused);
}

void UpstreamRequest::onInformational(http::ResponseHead head) {
  if (owner_ != nullptr) {
    owner_->onUpstreamInformational(std::move(head));
  }
}

void UpstreamRequest::onResponseHead(http::ResponseHead head, bool end_stream) {
  Replica& replica = slot_.replica();
  response_begun_ = true;
  learnKind(cluster_.cluster(), replica, head);
  if (saysNotExecuted(head)) {
    onRefusalHead(head);
    return;
  }
  slot_.accepted();
  if (const auto report = wants_load_report_ ? head.headers.get(kLoadReportHeader) : std::nullopt) {
    cluster_.cluster().replicaReported(replica, *report, cluster_.loop().now());
  }
  if (head.status == 502) {
    cluster_.cluster().replicaFailed(replica);
  } else {
    cluster_.cluster().replicaAnswered(replica);
  }
  (head.status < 500 ? replica.succeeded : replica.failed).fetch_add(1, std::memory_order_relaxed);
  if (owner_ != nullptr) {
    owner_->onUpstreamHead(std::move(head), end_stream);
  } else if (end_stream) {
    onAnswered();
  }
}

// Its load report is not read: it may be older than the decision to refuse.
void UpstreamRequest::onRefusalHead(const http::ResponseHead& head) {
  Cluster& cluster = cluster_.cluster();
  if (head.headers.get("x-penstock-reason") == "concurrency_limit") {
    cluster.countLimitExceeded();
  }
  cluster.replicaAnswered(slot_.replica());
  cluster.replicaRefused(slot_);
  if (owner_ == nullptr) {
    finishAbandoned();
  } else {
    owner_->onUpstreamFailed(Failure::kRefused);
  }
}

void UpstreamRequest::onData(std::span<const std::uint8_t> data, bool end_stream) {
  if (owner_ != nullptr) {
    owner_->onUpstreamData(data, end_stream);
  } else {
    consume(data.size());
    if (end_stream) {
      onAnswered();
    }
  }
}

void UpstreamRequest::onTrailers(http::Headers trailers) {
  if (owner_ != nullptr) {
    owner_->onUpstreamTrailers(std::move(trailers));
  } else {
    onAnswered();
  }
}

// Nobody is left to end the other direction.
void UpstreamRequest::onAnswered() {
  if (!request_sent_) {
    finishAbandoned();
  }
}

void UpstreamRequest::onSendReady() {
  if (owner_ != nullptr) {
    owner_->onUpstreamSendReady();
  }
}

void UpstreamRequest::onEnd(http::StreamEnd end) {
  stream_ = nullptr;
  const Failure failure = failureOf(end, response_begun_);
  if (failure == Failure::kRefused) {
    cluster_.cluster().replicaRefused(slot_);
  }
  if (owner_ == nullptr) {
    finishAbandoned();
    return;
  }
  if (end == http::StreamEnd::kComplete) {
    slot_.release();
    owner_->onUpstreamEnd();
    return;
  }
  // A stream that its model ended says nothing of the replica.
  if (!provablyNotExecuted(failure) && failure != Failure::kTooLarge &&
      failure != Failure::kStreamFailed) {
    slot_.replica().failed.fetch_add(1, std::memory_order_relaxed);
    cluster_.cluster().replicaFailed(slot_.replica());
  }
  owner_->onUpstreamFailed(failure);
}

}  // namespace penstock::proxy
