#include "proxy/upstream/abandoned_request.h"

#include <utility>

#include "proxy/upstream/upstream_cluster.h"

namespace penstock::proxy {

void AbandonedRequest::abandon(UpstreamCluster& cluster, std::unique_ptr<UpstreamRequest> request,
                               Deadline give_up, http::StreamReservation reservation) {
  if (!request->mayBeRunning()) {
    return;
  }
  UpstreamRequest& running = *request;
  auto abandoned =
      std::make_unique<AbandonedRequest>(cluster, std::move(request), std::move(reservation));
  abandoned->give_up_.arm(give_up.when());
  running.askToCancel();
  cluster.adopt(std::move(abandoned));
}

AbandonedRequest::AbandonedRequest(UpstreamCluster& cluster,
                                   std::unique_ptr<UpstreamRequest> request,
                                   http::StreamReservation reservation)
    : cluster_(cluster),
      request_(std::move(request)),
      reservation_(std::move(reservation)),
      give_up_(cluster.loop(), [this] { finish(); }) {
  request_->setOwner(*this);
}

void AbandonedRequest::onUpstreamHead(http::ResponseHead, bool end_stream) {
  if (end_stream) {
    onAnswered();
  }
}

void AbandonedRequest::onUpstreamData(std::span<const std::uint8_t> data, bool end_stream) {
  request_->consume(data.size());
  if (end_stream) {
    onAnswered();
  }
}

void AbandonedRequest::onUpstreamTrailers(http::Headers) {
  onAnswered();
}

void AbandonedRequest::onUpstreamFailed(UpstreamRequest::Failure) {
  finish();
}

void AbandonedRequest::onAnswered() {
  if (!request_->sentWhole()) {
    finish();
  }
}

// Often in the middle of one of the request's callbacks.
void AbandonedRequest::finish() {
  give_up_.disarm();
  request_->takeSlot().release();
  reservation_ = {};
  cluster_.loop().destroyLater(cluster_.release(*this));
}

}  // namespace penstock::proxy
