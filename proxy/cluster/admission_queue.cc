#include "proxy/cluster/admission_queue.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace penstock::proxy {

// One critical section: brings the time integrals up to date at its start, and wakes the inboxes
// that got something after the lock is released.
class AdmissionQueue::Change {
 public:
  explicit Change(AdmissionQueue& queue) : now_(queue.clock_.now()), lock_(queue.mutex_) {
    const QueueAccount::Step step = queue.account_.stepTo(now_);
    now_ = step.now;
    queue.account_.advance(step, queue.table_.inFlight());
    if (!queue.queue_.empty()) {
      queue.drain_rate_.waited(step.passed);
    }
  }
  ~Change() {
    lock_.unlock();
    for (std::size_t i = 0; i < count_; ++i) {
      to_wake_[i]->wake_();
    }
  }
  TimePoint now() const { return now_; }
  void wake(Inbox& inbox) { to_wake_[count_++] = &inbox; }

 private:
  TimePoint now_;
  std::unique_lock<std::mutex> lock_;
  std::array<Inbox*, kMaxInboxes> to_wake_;
  std::size_t count_ = 0;
};

AdmissionQueue::AdmissionQueue(const Clock& clock, const Settings& settings)
    : clock_(clock),
      settings_(settings),
      table_(settings.concurrency_target),
      account_(clock.now()) {}

AdmissionQueue::~AdmissionQueue() {
  PENSTOCK_CHECK(account_.waiting == 0 && table_.inFlight() == 0,
                 "every ticket and slot is gone before their queue");
}

std::optional<Refusal> AdmissionQueue::refusalNow(std::uint64_t bytes) const {
  std::lock_guard lock(mutex_);
  return refusalOf(bytes);
}

std::optional<Refusal> AdmissionQueue::refusalOf(std::uint64_t bytes) const {
  if (draining_) {
    return Refusal::kDraining;
  }
  if (queue_.empty() && table_.freeSlots() > 0) {
    return std::nullopt;
  }
  if (account_.waiting >= settings_.max_requests) {
    return Refusal::kQueueFull;
  }
  if (bytes > settings_.max_bytes - std::min(account_.waiting_bytes, settings_.max_bytes)) {
    return Refusal::kQueueBytesFull;
  }
  return std::nullopt;
}

Admission AdmissionQueue::acquire(Ticket& ticket, const Demand& demand) {
  Change change(*this);
  PENSTOCK_CHECK(ticket.state_ == Ticket::State::kIdle, "a request asks for one slot at a time");
  if (const auto refusal = refusalOf(demand.bytes)) {
    ++account_.refused;
    return *refusal;
  }
  if (queue_.empty() && table_.freeSlots() > 0) {
    ++account_.accepted;
    ticket.place_ = next_place_++;
    return handOut(table_.take(0, change.now()), false);
  }
  ++account_.accepted;
  ticket.place_ = next_place_++;
  ticket.retry_ = false;
  ticket.avoid_ = 0;
  wait(ticket, demand, change.now());
  queue_.append(ticket);
  return Waiting{};
}

bool AdmissionQueue::putBack(Slot slot, Ticket& ticket, const Demand& demand, RetryCause cause) {
  SlotTable::Row* row = std::exchange(slot.row_, nullptr);
  Change change(*this);
  PENSTOCK_CHECK(row != nullptr && ticket.state_ == Ticket::State::kIdle && ticket.place_ != 0,
                 "only a request that has a slot is put back");
  ticket.avoid_ = row->replica.id;
  giveBack(*row, slot.retry_);
  const std::uint64_t budget = std::max<std::uint64_t>(
      settings_.min_retries, table_.inFlight() * settings_.retry_budget_percent / 100);
  // Only running a request again costs a replica something.
  const bool runs_again = cause == RetryCause::kFailed;
  if (runs_again && account_.retrying >= budget) {
    ++account_.done;
    grantWaiting(change);
    return false;
  }
  ticket.retry_ = runs_again;
  account_.retrying += runs_again ? 1 : 0;
  wait(ticket, demand, change.now());
  if (cause == RetryCause::kNotSent) {
    ticket.state_ = Ticket::State::kBackingOff;
    ++account_.backing_off;
  } else {
    queue_.insertByPlace(ticket);
  }
  grantWaiting(change);
  return true;
}

Replica& AdmissionQueue::addReplica(const net::Address& address) {
  Change change(*this);
  return table_.add(address).replica;
}

template <typename Edit>
void AdmissionQueue::edit(ReplicaId id, Edit edit) {
  Change change(*this);
  if (SlotTable::Row* row = table_.find(id)) {
    edit(*row);
    grantWaiting(change);
  }
}

void AdmissionQueue::setAvailable(ReplicaId id, bool available) {
  edit(id, [&](SlotTable::Row& row) { table_.setAvailable(row, available); });
}

void AdmissionQueue::removeReplica(ReplicaId id) {
  edit(id, [&](SlotTable::Row& row) { table_.remove(row); });
}

void AdmissionQueue::setLeaving(ReplicaId id, bool leaving) {
  edit(id, [&](SlotTable::Row& row) { table_.setLeaving(row, leaving); });
}

void AdmissionQueue::offerOne(ReplicaId id) {
  edit(id, [&](SlotTable::Row& row) { table_.offerOne(row); });
}

void AdmissionQueue::reopen(ReplicaId id) {
  edit(id, [&](SlotTable::Row& row) { table_.reopen(row); });
}

void AdmissionQueue::setGateFreeUntil(ReplicaId id, TimePoint until) {
  edit(id, [&](SlotTable::Row& row) { table_.setGateFreeUntil(row, until); });
}

void AdmissionQueue::setTarget(std::uint32_t concurrency_target) {
  Change change(*this);
  table_.setTarget(concurrency_target);
  grantWaiting(change);
}

void AdmissionQueue::setBounds(std::uint64_t max_requests, std::uint64_t max_bytes) {
  std::lock_guard lock(mutex_);
  settings_.max_requests = max_requests;
  settings_.max_bytes = max_bytes;
}

void AdmissionQueue::drain() {
  Change change(*this);
  draining_ = true;
}

std::uint32_t AdmissionQueue::refused(SlotTable::Row& row, std::uint64_t slot_number) {
  Change change(*this);
  return table_.refused(row, slot_number);
}

void AdmissionQueue::accepted(SlotTable::Row& row, std::uint64_t slot_number) {
  Change change(*this);
  table_.accepted(row, slot_number);
  grantWaiting(change);
}

void AdmissionQueue::release(SlotTable::Row& row, bool retry) {
  Change change(*this);
  giveBack(row, retry);
  ++account_.done;
  if (!queue_.empty()) {
    drain_rate_.freed();
  }
  grantWaiting(change);
}

void AdmissionQueue::leave(Ticket& ticket) {
  Change change(*this);
  switch (std::exchange(ticket.state_, Ticket::State::kIdle)) {
    case Ticket::State::kIdle:
      break;
    case Ticket::State::kBackingOff:
      --account_.backing_off;
      endWait(ticket);
      ++account_.done;
      break;
    case Ticket::State::kWaiting:
      queue_.remove(ticket);
      endWait(ticket);
      account_.retrying -= ticket.retry_ ? 1 : 0;
      ++account_.done;
      break;
    case Ticket::State::kGranted:
      ticket.inbox_.answered_.remove(ticket);
      --account_.undelivered;
      giveBack(*std::exchange(ticket.granted_, nullptr), ticket.retry_);
      ++account_.done;
      grantWaiting(change);
      break;
    case Ticket::State::kExpired:
      ticket.inbox_.answered_.remove(ticket);
      break;
  }
}

void AdmissionQueue::activate(Ticket& ticket) {
  Change change(*this);
  if (ticket.state_ != Ticket::State::kBackingOff) {
    return;
  }
  --account_.backing_off;
  ticket.state_ = Ticket::State::kWaiting;
  queue_.insertByPlace(ticket);
  grantWaiting(change);
}

bool AdmissionQueue::collect(Inbox& inbox, std::size_t max) {
  for (std::size_t told = 0;; ++told) {
    Ticket* ticket = nullptr;
    Slot slot;
    {
      Change change(*this);
      ticket = inbox.answered_.first();
      if (ticket == nullptr) {
        inbox.woken_ = false;
        return false;
      }
      if (told == max) {
        return true;
      }
      inbox.answered_.remove(*ticket);
      if (std::exchange(ticket->state_, Ticket::State::kIdle) == Ticket::State::kGranted) {
        --account_.undelivered;
        slot = handOut(*std::exchange(ticket->granted_, nullptr), ticket->retry_);
      }
    }
    ticket->waits_ = false;
    if (slot.valid()) {
      ticket->owner_.onGranted(std::move(slot));
    } else {
      ticket->owner_.onExpired();
    }
  }
}

void AdmissionQueue::addInbox() {
  std::lock_guard lock(mutex_);
  PENSTOCK_CHECK(++inboxes_ <= kMaxInboxes, "a queue serves at most 64 workers");
}

Slot AdmissionQueue::handOut(SlotTable::Row& row, bool retry) {
  return Slot(*this, row, retry, table_.nextNumber());
}

void AdmissionQueue::giveBack(SlotTable::Row& row, bool retry) {
  table_.giveBack(row);
  account_.retrying -= retry ? 1 : 0;
}

void AdmissionQueue::wait(Ticket& ticket, const Demand& demand, TimePoint now) {
  ticket.state_ = Ticket::State::kWaiting;
  ticket.waits_ = true;
  ticket.bytes_ = demand.bytes;
  ticket.deadline_ = demand.deadline;
  ticket.since_ = now;
  ++account_.waiting;
  account_.waiting_bytes += demand.bytes;
}

void AdmissionQueue::endWait(const Ticket& ticket) {
  --account_.waiting;
  account_.waiting_bytes -= ticket.bytes_;
}

void AdmissionQueue::grantWaiting(Change& change) {
  while (!queue_.empty() && table_.freeSlots() > 0) {
    Ticket& ticket = *queue_.first();
    queue_.remove(ticket);
    endWait(ticket);
    if (ticket.deadline_.passed(change.now())) {
      account_.retrying -= ticket.retry_ ? 1 : 0;
      ++account_.done;
      deliver(ticket, Ticket::State::kExpired, change);
      continue;
    }
    ticket.granted_ = &table_.take(ticket.avoid_, change.now());
    ++account_.undelivered;
    deliver(ticket, Ticket::State::kGranted, change);
  }
}

void AdmissionQueue::deliver(Ticket& ticket, Ticket::State state, Change& change) {
  ticket.state_ = state;
  ticket.inbox_.answered_.append(ticket);
  if (!std::exchange(ticket.inbox_.woken_, true)) {
    change.wake(ticket.inbox_);
  }
}

}  // namespace penstock::proxy
