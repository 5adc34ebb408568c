#pragma once

#include <memory>

#include "base/deadline.h"
#include "net/event_loop.h"
#include "net/http/stream_reservation.h"
#include "proxy/upstream/upstream_request.h"

namespace penstock::proxy {

// A request whose answer nobody waits for but whose replica may be at work on it. It keeps the slot
// and the client's stream reserved until the replica has ended the work or the time to give up has
// come, and drops what the replica sends meanwhile. Loop thread only.
class AbandonedRequest final : public UpstreamRequest::Owner {
 public:
  // What the replica cannot have begun is dropped at once. Else the replica is told as the
  // cluster's configuration says, and the cluster keeps the request until it has ended.
  static void abandon(UpstreamCluster& cluster, std::unique_ptr<UpstreamRequest> request,
                      Deadline give_up, http::StreamReservation reservation);

  AbandonedRequest(UpstreamCluster& cluster, std::unique_ptr<UpstreamRequest> request,
                   http::StreamReservation reservation);

 private:
  void onUpstreamReady() override {}
  void onUpstreamInformational(http::ResponseHead) override {}
  void onUpstreamHead(http::ResponseHead head, bool end_stream) override;
  void onUpstreamData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onUpstreamTrailers(http::Headers trailers) override;
  void onUpstreamSendReady() override {}
  void onUpstreamFailed(UpstreamRequest::Failure failure) override;
  void onUpstreamEnd() override { finish(); }
  // The answer has ended. Nobody is left to end the other direction.
  void onAnswered();
  void finish();

  UpstreamCluster& cluster_;
  std::unique_ptr<UpstreamRequest> request_;
  http::StreamReservation reservation_;
  net::Timer give_up_;
};

}  // namespace penstock::proxy
