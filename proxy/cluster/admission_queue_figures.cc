// What an admission queue tells about itself.

#include <algorithm>

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

AdmissionQueue::Snapshot AdmissionQueue::snapshot() const {
  const TimePoint clock_now = clock_.now();
  std::lock_guard lock(mutex_);
  const TimePoint now = std::max(clock_now, accounted_until_);
  const double dt = inSeconds(now - accounted_until_);
  return {
      .at = now,
      .target = settings_.concurrency_target,
      .waiting = waiting_,
      .backing_off = backing_off_,
      .in_flight = in_flight_,
      .undelivered = undelivered_,
      .waiting_bytes = waiting_bytes_,
      .free_slots = free_slots_,
      .accepted = accepted_,
      .done = done_,
      .arrivals = accepted_ + refused_,
      .head_place = queue_.empty() ? 0 : queue_.first()->place_,
      .oldest_wait = queue_.empty() ? Duration::zero() : now - queue_.first()->since_,
      .waiting_seconds = waiting_seconds_ + dt * static_cast<double>(waiting_),
      .in_flight_seconds = in_flight_seconds_ + dt * static_cast<double>(in_flight_),
      .idle_while_waiting_seconds =
          idle_while_waiting_seconds_ + dt * static_cast<double>(undelivered_),
      .any_available = std::ranges::any_of(
          entries_, [](const auto& e) { return e->presence == Presence::kAvailable; }),
  };
}

std::vector<AdmissionQueue::ReplicaSnapshot> AdmissionQueue::replicas() const {
  std::lock_guard lock(mutex_);
  std::vector<ReplicaSnapshot> result;
  result.reserve(entries_.size());
  for (const auto& e : entries_) {
    result.push_back({.id = e->id,
                      .address = e->address,
                      .available = e->presence == Presence::kAvailable,
                      .removed = e->removed(),
                      .leaving = e->leaving,
                      .refusing = e->standing != Standing::kOpen,
                      .in_flight = e->in_flight,
                      .granted = e->granted,
                      .requests = e->requests.load(std::memory_order_relaxed),
                      .succeeded = e->succeeded.load(std::memory_order_relaxed),
                      .failed = e->failed.load(std::memory_order_relaxed)});
  }
  return result;
}

std::uint32_t AdmissionQueue::inFlight(ReplicaId id) const {
  std::lock_guard lock(mutex_);
  const auto it = std::ranges::find(entries_, id, [](const auto& entry) { return entry->id; });
  return it == entries_.end() ? 0 : (*it)->in_flight;
}

bool AdmissionQueue::anyAvailable() const {
  return snapshot().any_available;
}

Duration AdmissionQueue::estimatedWait() const {
  const TimePoint clock_now = clock_.now();
  std::lock_guard lock(mutex_);
  const Duration since = std::max(clock_now, accounted_until_) - accounted_until_;
  return drain_rate_.estimatedWait(waiting_, queue_.empty() ? Duration::zero() : since);
}

}  // namespace penstock::proxy
