#include "proxy/upstream/cancel_call.h"

#include "proxy/upstream/upstream_cluster.h"

namespace penstock::proxy {

CancelCall::CancelCall(UpstreamCluster& cluster, std::string authority, std::string attempt_id)
    : cluster_(cluster),
      authority_(std::move(authority)),
      attempt_id_(std::move(attempt_id)),
      timeout_(cluster.loop(), [this] { cluster_.endCancel(*this); }) {
  timeout_.armAfter(std::chrono::seconds(5));
}

CancelCall::~CancelCall() {
  if (stream_ != nullptr) {
    stream_->reset(http::ResetReason::kCancel);
  }
}

void CancelCall::onConnection(http::ClientConnection& connection) {
  stream_ = &connection.newStream(*this);
  http::RequestHead head;
  head.method = "POST";
  head.scheme = "http";
  head.authority = authority_;
  head.path = "/penstock/cancel";
  head.headers.add("x-penstock-attempt-id", attempt_id_);
  head.content_length = 0;
  stream_->sendHead(head, true);
}

void CancelCall::onConnectFailed(net::CloseReason, std::string_view) {
  cluster_.endCancel(*this);
}

void CancelCall::onNoStream() {
  cluster_.endCancel(*this);
}

void CancelCall::onEnd(http::StreamEnd) {
  stream_ = nullptr;
  cluster_.endCancel(*this);
}

}  // namespace penstock::proxy
