#pragma once

#include <cstdint>
#include <memory>

#include "proxy/filters/router/request_replay.h"
#include "proxy/http/exchange.h"
#include "proxy/upstream/upstream_request.h"

namespace penstock::proxy {

// The last filter: sends the request to the replica of its slot and passes the answer on, both ways
// under back-pressure. What a replica provably did not run goes back to the queue while the body is
// still whole. A WebSocket's bytes are kept back until the replica has accepted it, and then go
// both ways until either side ends.
class RouterFilter final : public Filter, public UpstreamRequest::Owner {
 public:
  explicit RouterFilter(Exchange& exchange) : exchange_(exchange) {}

  FilterStatus onRequestHead(http::RequestHead& head) override;
  void onRequestBody() override;
  bool mayHaveBegun() const override { return attempt_.sent != Attempt::Sent::kNothing; }
  void onTimer() override;
  void onResponseSendReady() override;
  void onRequestDropped() override;

 private:
  void onUpstreamReady() override;
  void onUpstreamInformational(http::ResponseHead head) override;
  void onUpstreamHead(http::ResponseHead head, bool end_stream) override;
  void onUpstreamData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onUpstreamTrailers(http::Headers trailers) override;
  void onUpstreamSendReady() override;
  void onUpstreamFailed(UpstreamRequest::Failure failure) override;
  void onUpstreamEnd() override;

  void askForLoadReport(http::Headers& headers);
  // A sidecar refuses in HTTP's words. True: its gRPC client has been told in gRPC's.
  bool translateRefusal(const http::ResponseHead& head);
  void forwardBody();
  void declareLength();
  bool isSafe() const;
  void accountBacklog();
  bool sentAll() const { return attempt_.sent == Attempt::Sent::kAll; }
  // The replica has the request but for what its client has yet to send.
  bool awaitsUpload() const;
  // When something of this attempt has to have come.
  Deadline due() const;
  // Whether the request may have another attempt after one that ended for this cause. A refusal
  // uses up none: it is bounded by the deadline and the queue's timeout alone.
  bool mayTryAgain(RetryCause cause) const;
  // Whether the request waits for another slot now. Takes the attempt's slot in any case.
  bool retry(RetryCause cause);
  // The replica answered before it had the whole request, and wants no more of it.
  void endEarly();
  void discardUpstream();
  void touch();
  // Without a byte for so long, the response is cut off.
  Duration idleLimit() const;

  // What a retry replaces.
  struct Attempt {
    // What the replica has of the request: nothing, since there is no stream yet; at least the
    // head; all of it.
    enum class Sent { kNothing, kHead, kAll };
    std::unique_ptr<UpstreamRequest> upstream;  // null when it has ended
    Sent sent = Sent::kNothing;
    TimePoint dispatched{};
    TimePoint last_activity{};
  };

  Exchange& exchange_;
  Attempt attempt_;
  // Attempts by how they ended; each kind has a bound of its own, or none.
  std::uint32_t connect_failures_ = 0;
  std::uint32_t failures_ = 0;
  bool asked_for_report_ = false;  // the head says so, and the client's did not
  RequestReplay replay_;
  std::size_t unconsumed_ = 0;  // of the response
};

}  // namespace penstock::proxy
