#pragma once

#include <optional>
#include <random>

#include "proxy/http/exchange.h"

namespace penstock::proxy {

// Lets a request go on only with a slot on a replica. Asks for one when the body is complete or
// fills its buffer: a slow uploader does not sit on a GPU; a duplex request asks at once. Waits in
// the cluster's admission queue, with a deadline; takes requests back that a replica did not run.
class ConcurrencyTargetFilter final : public Filter, public Ticket::Owner {
 public:
  ConcurrencyTargetFilter(Exchange& exchange, std::minstd_rand& jitter)
      : exchange_(exchange), jitter_(jitter) {}

  FilterStatus onRequestHead(http::RequestHead& head) override;
  void onRequestBody() override;
  bool onPutBack(Slot& slot, RetryCause cause) override;
  void onTimer() override;
  void onRequestDropped() override;

 private:
  void onGranted(Slot slot) override;
  void onExpired() override;

  // Whether the request has a slot now.
  bool ask();
  AdmissionQueue::Demand demand() const;
  AdmissionQueue& queue() const { return exchange_.cluster().cluster().queue(); }

  Exchange& exchange_;
  std::minstd_rand& jitter_;
  std::optional<Ticket> ticket_;
  bool backing_off_ = false;
  TimePoint waiting_since_{};
  // Of all the waiting, also after a retry.
  Deadline queue_deadline_ = Deadline::never();
};

}  // namespace penstock::proxy
