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

void UpstreamRequest::askToCancel() {
  stream_->doubt();
  if (slot_.replica().isSidecar() && !attempt_id_.empty()) {
    cluster_.cancel(slot_.replica(), attempt_id_);
  }
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
  owner_->onUpstreamInformational(std::move(head));
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
  owner_->onUpstreamHead(std::move(head), end_stream);
}

// Its load report is not read: it may be older than the decision to refuse.
void UpstreamRequest::onRefusalHead(const http::ResponseHead& head) {
  Cluster& cluster = cluster_.cluster();
  if (head.headers.get("x-penstock-reason") == "concurrency_limit") {
    cluster.countLimitExceeded();
  }
  cluster.replicaAnswered(slot_.replica());
  cluster.replicaRefused(slot_);
  owner_->onUpstreamFailed(Failure::kRefused);
}

void UpstreamRequest::onData(std::span<const std::uint8_t> data, bool end_stream) {
  owner_->onUpstreamData(data, end_stream);
}

void UpstreamRequest::onTrailers(http::Headers trailers) {
  owner_->onUpstreamTrailers(std::move(trailers));
}

void UpstreamRequest::onSendReady() {
  owner_->onUpstreamSendReady();
}

void UpstreamRequest::onEnd(http::StreamEnd end) {
  stream_ = nullptr;
  const Failure failure = failureOf(end, response_begun_);
  if (failure == Failure::kRefused) {
    cluster_.cluster().replicaRefused(slot_);
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
