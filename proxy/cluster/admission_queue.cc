#include "proxy/cluster/admission_queue.h"

#include <algorithm>
#include <array>
#include <compare>
#include <utility>

#include "base/check.h"

namespace penstock::proxy {
namespace {

// Why a replica with a free slot is not the first choice; the least is, and what comes first
// weighs most.
struct Objection {
  bool avoided;  // it refused this very request
  std::uint32_t load;
  bool gate_taken;  // or not known to be free
  auto operator<=>(const Objection&) const = default;
};

}  // namespace

// One critical section: brings the time integrals up to date at its start, and wakes the inboxes
// that got something after the lock is released.
class AdmissionQueue::Change {
 public:
  explicit Change(AdmissionQueue& queue) : now_(queue.clock_.now()), lock_(queue.mutex_) {
    // Two threads may read the clock in one order and get the lock in the other.
    now_ = std::max(now_, queue.accounted_until_);
    queue.account(now_);
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
    : clock_(clock), settings_(settings), accounted_until_(clock.now()) {
  PENSTOCK_CHECK(settings_.concurrency_target >= 1, "a concurrency target is at least 1");
}

AdmissionQueue::~AdmissionQueue() {
  PENSTOCK_CHECK(waiting_ == 0 && in_flight_ == 0,
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
  if (queue_.empty() && free_slots_ > 0) {
    return std::nullopt;
  }
  if (waiting_ >= settings_.max_requests) {
    return Refusal::kQueueFull;
  }
  if (bytes > settings_.max_bytes - std::min(waiting_bytes_, settings_.max_bytes)) {
    return Refusal::kQueueBytesFull;
  }
  return std::nullopt;
}

Admission AdmissionQueue::acquire(Ticket& ticket, const Demand& demand) {
  Change change(*this);
  PENSTOCK_CHECK(ticket.state_ == Ticket::State::kIdle, "a request asks for one slot at a time");
  if (const auto refusal = refusalOf(demand.bytes)) {
    ++refused_;
    return *refusal;
  }
  if (queue_.empty() && free_slots_ > 0) {
    ++accepted_;
    ticket.place_ = next_place_++;
    return handOut(takeSlot(0, change.now()), false);
  }
  ++accepted_;
  ticket.place_ = next_place_++;
  ticket.retry_ = false;
  ticket.avoid_ = 0;
  wait(ticket, demand, change.now());
  queue_.append(ticket);
  return Waiting{};
}

bool AdmissionQueue::putBack(Slot slot, Ticket& ticket, const Demand& demand, RetryCause cause) {
  Replica* replica = std::exchange(slot.replica_, nullptr);
  Change change(*this);
  PENSTOCK_CHECK(replica != nullptr && ticket.state_ == Ticket::State::kIdle && ticket.place_ != 0,
                 "only a request that has a slot is put back");
  ticket.avoid_ = replica->id;
  giveBack(*replica, slot.retry_);
  const std::uint64_t budget = std::max<std::uint64_t>(
      settings_.min_retries, in_flight_ * settings_.retry_budget_percent / 100);
  // Only running a request again costs a replica something.
  const bool runs_again = cause == RetryCause::kFailed;
  if (runs_again && retrying_ >= budget) {
    ++done_;
    grantWaiting(change);
    return false;
  }
  ticket.retry_ = runs_again;
  retrying_ += runs_again ? 1 : 0;
  wait(ticket, demand, change.now());
  if (cause == RetryCause::kNotSent) {
    ticket.state_ = Ticket::State::kBackingOff;
    ++backing_off_;
  } else {
    queue_.insertByPlace(ticket);
  }
  grantWaiting(change);
  return true;
}

Replica& AdmissionQueue::addReplica(const net::Address& address) {
  Change change(*this);
  Entry& entry = *entries_.emplace_back(std::make_unique<Entry>(next_id_++, address));
  ++staying_;
  recount();
  inherit(entry.name);
  return entry;
}

void AdmissionQueue::setAvailable(ReplicaId id, bool available) {
  Change change(*this);
  if (Entry* entry = find(id)) {
    edit(*entry,
         [&] { entry->presence = available ? Presence::kAvailable : Presence::kUnavailable; });
    grantWaiting(change);
  }
}

void AdmissionQueue::removeReplica(ReplicaId id) {
  Change change(*this);
  if (Entry* entry = find(id)) {
    staying_ -= entry->leaving ? 0 : 1;
    entry->presence = Presence::kRemoved;
    recount();
    afterRemoval(*entry);
    grantWaiting(change);
  }
}

void AdmissionQueue::setLeaving(ReplicaId id, bool leaving) {
  Change change(*this);
  Entry* entry = find(id);
  if (entry != nullptr && std::exchange(entry->leaving, leaving) != leaving) {
    leaving ? --staying_ : ++staying_;
    recount();
    grantWaiting(change);
  }
}

void AdmissionQueue::offerOne(ReplicaId id) {
  Change change(*this);
  Entry* entry = find(id);
  if (entry != nullptr && entry->standing == Standing::kHolding) {
    stand(*entry, Standing::kTrying);
    grantWaiting(change);
  }
}

void AdmissionQueue::reopen(ReplicaId id) {
  Change change(*this);
  if (Entry* entry = find(id)) {
    stand(*entry, Standing::kOpen);
    grantWaiting(change);
  }
}

void AdmissionQueue::setTarget(std::uint32_t concurrency_target) {
  PENSTOCK_CHECK(concurrency_target >= 1, "a concurrency target is at least 1");
  Change change(*this);
  settings_.concurrency_target = concurrency_target;
  recount();
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

std::uint32_t AdmissionQueue::refused(Replica& replica, std::uint64_t slot_number) {
  Change change(*this);
  auto& entry = static_cast<Entry&>(replica);
  if (slot_number < entry.refused_before) {
    return 0;
  }
  entry.refused_before = next_slot_;
  stand(entry, Standing::kHolding);
  return ++entry.refusals;
}

void AdmissionQueue::accepted(Replica& replica, std::uint64_t slot_number) {
  Change change(*this);
  auto& entry = static_cast<Entry&>(replica);
  if (slot_number >= entry.refused_before) {
    entry.refusals = 0;
    stand(entry, Standing::kOpen);
    grantWaiting(change);
  }
}

void AdmissionQueue::release(Replica& replica, bool retry) {
  Change change(*this);
  giveBack(replica, retry);
  ++done_;
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
      --backing_off_;
      --waiting_;
      waiting_bytes_ -= ticket.bytes_;
      ++done_;
      break;
    case Ticket::State::kWaiting:
      queue_.remove(ticket);
      --waiting_;
      waiting_bytes_ -= ticket.bytes_;
      retrying_ -= ticket.retry_ ? 1 : 0;
      ++done_;
      break;
    case Ticket::State::kGranted:
      ticket.inbox_.answered_.remove(ticket);
      --undelivered_;
      giveBack(*std::exchange(ticket.granted_, nullptr), ticket.retry_);
      ++done_;
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
  --backing_off_;
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
        --undelivered_;
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

std::uint64_t AdmissionQueue::freeSlots(const Entry& entry) const {
  const std::uint32_t target = settings_.concurrency_target;
  if (entry.presence != Presence::kAvailable || entry.load() >= target ||
      entry.standing == Standing::kHolding || (entry.leaving && staying_ > 0)) {
    return 0;
  }
  return entry.standing == Standing::kTrying ? 1 : target - entry.load();
}

template <typename Edit>
void AdmissionQueue::edit(Entry& entry, Edit change) {
  free_slots_ -= freeSlots(entry);
  change();
  free_slots_ += freeSlots(entry);
}

void AdmissionQueue::recount() {
  free_slots_ = 0;
  for (const auto& entry : entries_) {
    free_slots_ += freeSlots(*entry);
  }
}

void AdmissionQueue::stand(Entry& entry, Standing standing) {
  edit(entry, [&] { entry.standing = standing; });
  entry.refusing.store(standing != Standing::kOpen, std::memory_order_relaxed);
}

AdmissionQueue::Entry* AdmissionQueue::find(ReplicaId id) {
  const auto it = std::ranges::find_if(
      entries_, [&](const auto& entry) { return entry->id == id && !entry->removed(); });
  return it == entries_.end() ? nullptr : it->get();
}

// Of the replica that is least loaded, and among equals of one whose gate is free, beginning after
// the one taken last; of the one to avoid only if no other has a free slot.
AdmissionQueue::Entry& AdmissionQueue::takeSlot(ReplicaId avoid, TimePoint now) {
  Entry* best = nullptr;
  std::size_t best_index = 0;
  Objection least{};
  for (std::size_t step = 1; step <= entries_.size(); ++step) {
    const std::size_t i = (rotation_ + step) % entries_.size();
    Entry& entry = *entries_[i];
    if (freeSlots(entry) == 0) {
      continue;
    }
    const Objection objection{
        .avoided = entry.id == avoid,
        .load = entry.load(),
        .gate_taken = now >= entry.gate_free_until.load(std::memory_order_relaxed)};
    if (best == nullptr || objection < least) {
      best = &entry;
      best_index = i;
      least = objection;
    }
  }
  PENSTOCK_CHECK(best != nullptr, "there is a free slot when one is taken");
  rotation_ = best_index;
  edit(*best, [&] {
    ++best->granted;
    ++best->in_flight;
    best->standing = best->standing == Standing::kTrying ? Standing::kHolding : best->standing;
  });
  ++in_flight_;
  return *best;
}

Slot AdmissionQueue::handOut(Replica& replica, bool retry) {
  return Slot(this, &replica, retry, next_slot_++);
}

void AdmissionQueue::giveBack(Replica& replica, bool retry) {
  auto& entry = static_cast<Entry&>(replica);
  edit(entry, [&] { --entry.in_flight; });
  --in_flight_;
  retrying_ -= retry ? 1 : 0;
  if (entry.removed()) {
    afterRemoval(entry);
  }
}

// One that was removed has fewer slots out, or none at all.
void AdmissionQueue::afterRemoval(Entry& entry) {
  inherit(entry.name);
  if (entry.in_flight == 0) {
    std::erase_if(entries_, [&](const auto& e) { return e.get() == &entry; });
  }
}

// Counts what is out of those removed at the address against the one that is there now.
void AdmissionQueue::inherit(std::string_view address) {
  std::uint32_t still_out = 0;
  for (const auto& entry : entries_) {
    still_out += entry->removed() && entry->name == address ? entry->in_flight : 0;
  }
  for (const auto& entry : entries_) {
    if (!entry->removed() && entry->name == address) {
      edit(*entry, [&] { entry->inherited = still_out; });
    }
  }
}

void AdmissionQueue::wait(Ticket& ticket, const Demand& demand, TimePoint now) {
  ticket.state_ = Ticket::State::kWaiting;
  ticket.waits_ = true;
  ticket.bytes_ = demand.bytes;
  ticket.deadline_ = demand.deadline;
  ticket.since_ = now;
  ++waiting_;
  waiting_bytes_ += demand.bytes;
}

void AdmissionQueue::grantWaiting(Change& change) {
  while (!queue_.empty() && free_slots_ > 0) {
    Ticket& ticket = *queue_.first();
    queue_.remove(ticket);
    --waiting_;
    waiting_bytes_ -= ticket.bytes_;
    if (ticket.deadline_.passed(change.now())) {
      retrying_ -= ticket.retry_ ? 1 : 0;
      ++done_;
      deliver(ticket, Ticket::State::kExpired, change);
      continue;
    }
    ticket.granted_ = &takeSlot(ticket.avoid_, change.now());
    ++undelivered_;
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

void AdmissionQueue::account(TimePoint now) {
  const Duration passed = now - accounted_until_;
  const double dt = inSeconds(passed);
  accounted_until_ = now;
  waiting_seconds_ += dt * static_cast<double>(waiting_);
  in_flight_seconds_ += dt * static_cast<double>(in_flight_);
  idle_while_waiting_seconds_ += dt * static_cast<double>(undelivered_);
  if (!queue_.empty()) {
    drain_rate_.waited(passed);
  }
}

}  // namespace penstock::proxy
