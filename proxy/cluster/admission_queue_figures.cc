// What an admission queue tells about itself.

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

AdmissionQueue::Snapshot AdmissionQueue::snapshot() const {
  const TimePoint clock_now = clock_.now();
  std::lock_guard lock(mutex_);
  const QueueAccount::Step step = account_.stepTo(clock_now);
  const QueueAccount::Integrals integrals = account_.after(step, table_.inFlight());
  return {
      .at = step.now,
      .target = table_.target(),
      .waiting = account_.waiting,
      .backing_off = account_.backing_off,
      .in_flight = table_.inFlight(),
      .undelivered = account_.undelivered,
      .waiting_bytes = account_.waiting_bytes,
      .free_slots = table_.freeSlots(),
      .accepted = account_.accepted,
      .done = account_.done,
      .arrivals = account_.accepted + account_.refused,
      .head_place = queue_.empty() ? 0 : queue_.first()->place_,
      .oldest_wait = queue_.empty() ? Duration::zero() : step.now - queue_.first()->since_,
      .waiting_seconds = integrals.waiting_seconds,
      .in_flight_seconds = integrals.in_flight_seconds,
      .idle_while_waiting_seconds = integrals.idle_while_waiting_seconds,
      .any_available = table_.available() > 0,
  };
}

std::vector<AdmissionQueue::ReplicaSnapshot> AdmissionQueue::replicas() const {
  std::lock_guard lock(mutex_);
  std::vector<ReplicaSnapshot> result;
  result.reserve(table_.rows().size());
  for (const auto& [id, row] : table_.rows()) {
    const Replica& replica = row->replica;
    result.push_back({.id = id,
                      .address = replica.address,
                      .available = row->available(),
                      .removed = row->removed(),
                      .leaving = row->leaving(),
                      .refusing = row->refusing(),
                      .gate_free_until = row->gateFreeUntil(),
                      .in_flight = row->inFlight(),
                      .granted = row->granted(),
                      .requests = replica.requests.load(std::memory_order_relaxed),
                      .succeeded = replica.succeeded.load(std::memory_order_relaxed),
                      .failed = replica.failed.load(std::memory_order_relaxed)});
  }
  return result;
}

std::uint32_t AdmissionQueue::inFlight(ReplicaId id) const {
  std::lock_guard lock(mutex_);
  const auto it = table_.rows().find(id);
  return it == table_.rows().end() ? 0 : it->second->inFlight();
}

bool AdmissionQueue::anyAvailable() const {
  std::lock_guard lock(mutex_);
  return table_.available() > 0;
}

Duration AdmissionQueue::estimatedWait() const {
  const TimePoint clock_now = clock_.now();
  std::lock_guard lock(mutex_);
  const Duration since = account_.stepTo(clock_now).passed;
  return drain_rate_.estimatedWait(account_.waiting, queue_.empty() ? Duration::zero() : since);
}

}  // namespace penstock::proxy
