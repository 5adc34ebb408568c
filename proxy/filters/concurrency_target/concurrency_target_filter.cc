#include "proxy/filters/concurrency_target/concurrency_target_filter.h"

#include <algorithm>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr int kMinBackOffMs = 25;
constexpr int kMaxBackOffMs = 250;

Reason reasonOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kQueueFull:
      return Reason::kQueueFull;
    case Refusal::kQueueBytesFull:
      return Reason::kQueueBytesFull;
    case Refusal::kDraining:
      break;
  }
  return Reason::kDraining;
}

}  // namespace

FilterStatus ConcurrencyTargetFilter::onRequestHead(http::RequestHead&) {
  const bool ready = exchange_.requestComplete() || exchange_.isDuplex();
  if (!ready && exchange_.awaitsContinue()) {
    const std::uint64_t bytes = exchange_.requestHead().content_length.value_or(0);
    if (const auto refusal =
            queue().refusalNow(std::min(bytes, exchange_.route().request_buffer.count))) {
      exchange_.reply(reasonOf(*refusal));
    }
    return FilterStatus::kStop;
  }
  return ready && ask() ? FilterStatus::kContinue : FilterStatus::kStop;
}

void ConcurrencyTargetFilter::onRequestBody() {
  const bool ready = exchange_.requestComplete() ||
                     exchange_.requestBody().size() >= exchange_.route().request_buffer.count;
  if (ready && !ticket_ && ask()) {
    exchange_.continueRequest();
  }
}

bool ConcurrencyTargetFilter::ask() {
  const TimePoint now = exchange_.loop().now();
  if (exchange_.deadline().passed(now)) {
    // A client may bring one that has: its request is not to be sent, nor said to have been.
    exchange_.replyOutOfTime();
    return false;
  }
  queue_deadline_ = Deadline::after(now, exchange_.cluster().cluster().queueTimeout());
  ticket_.emplace(exchange_.cluster().inbox(), *this);
  Admission admission = queue().acquire(*ticket_, demand());
  if (auto* slot = std::get_if<Slot>(&admission)) {
    exchange_.cluster().cluster().observeWaiting(Duration::zero());
    exchange_.setSlot(std::move(*slot));
    return true;
  }
  if (const auto* refusal = std::get_if<Refusal>(&admission)) {
    exchange_.reply(reasonOf(*refusal));
  } else {
    waiting_since_ = now;
    exchange_.setTimer(*this, queue_deadline_);
    exchange_.cluster().cluster().requestWaits();
  }
  return false;
}

AdmissionQueue::Demand ConcurrencyTargetFilter::demand() const {
  return {.bytes = exchange_.requestBody().size(),
          .deadline = std::min(queue_deadline_, exchange_.deadline())};
}

bool ConcurrencyTargetFilter::onPutBack(Slot& slot, RetryCause cause) {
  const TimePoint now = exchange_.loop().now();
  if (!queue().putBack(std::move(slot), *ticket_, demand(), cause)) {
    return false;
  }
  waiting_since_ = now;
  backing_off_ = cause == RetryCause::kNotSent;
  const Duration pause = std::chrono::milliseconds(
      std::uniform_int_distribution(kMinBackOffMs, kMaxBackOffMs)(jitter_));
  exchange_.setTimer(*this, backing_off_ ? std::min(Deadline::after(now, pause), queue_deadline_)
                                         : queue_deadline_);
  return true;
}

void ConcurrencyTargetFilter::onGranted(Slot slot) {
  ExchangeReport& report = exchange_.report();
  report.waited += exchange_.loop().now() - waiting_since_;
  exchange_.cluster().cluster().observeWaiting(report.waited);
  exchange_.setTimer(*this, Deadline::never());
  exchange_.setSlot(std::move(slot));
  exchange_.continueRequest();
}

void ConcurrencyTargetFilter::onExpired() {
  exchange_.report().waited += exchange_.loop().now() - waiting_since_;
  exchange_.replyNotAdmitted(queue().anyAvailable() ? Reason::kQueueTimeout : Reason::kNoReplica);
}

void ConcurrencyTargetFilter::onTimer() {
  const TimePoint now = exchange_.loop().now();
  if (backing_off_ && !queue_deadline_.passed(now)) {
    backing_off_ = false;
    exchange_.setTimer(*this, queue_deadline_);
    ticket_->activate();
    return;
  }
  ticket_->leave();
  onExpired();
}

void ConcurrencyTargetFilter::onRequestDropped() {
  if (ticket_) {
    ticket_->leave();
  }
}

}  // namespace penstock::proxy
