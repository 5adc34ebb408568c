#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/deadline.h"
#include "proxy/cluster/drain_rate.h"
#include "proxy/cluster/queue_account.h"
#include "proxy/cluster/slot_table.h"
#include "proxy/cluster/ticket.h"

namespace penstock::proxy {

enum class Refusal { kQueueFull, kQueueBytesFull, kDraining };
struct Waiting {};
// Exactly one of the three answers to a request for a slot.
using Admission = std::variant<Slot, Waiting, Refusal>;

// Why a request that had a slot needs another one.
enum class RetryCause : std::uint8_t {
  kNotSent,  // the replica could not be connected to
  kRefused,  // the replica did not take the request: not here, not now
  kFailed,   // the replica may have run the request, and the route says that it may run again
};

// The queue in front of the replicas of one cluster: strict about the concurrency target, first
// come first served, never idle while a request waits. acquire() decides once, under one lock: a
// slot (replica chosen and reserved), a wait, or a refusal. A freed slot is handed to the head of
// the queue, never put back and raced for. SlotTable says what replicas offer and which is chosen.
//
// Thread-safe. Inside the lock: no I/O, no system call but reading the clock, no allocation but
// when replicas are added.
class AdmissionQueue {
 public:
  struct Settings {
    std::uint32_t concurrency_target = 1;
    std::uint64_t max_requests = 1000;  // waiting
    std::uint64_t max_bytes = 256u << 20;
    std::uint32_t retry_budget_percent = 20;  // of in_flight
    std::uint32_t min_retries = 3;            // allowed at any load
  };
  static constexpr std::size_t kMaxInboxes = 64;

  AdmissionQueue(const Clock& clock, const Settings& settings);
  ~AdmissionQueue();

  struct Demand {
    std::uint64_t bytes = 0;  // held by the request while it waits
    Deadline deadline = Deadline::never();
  };
  // The ticket must not wait.
  Admission acquire(Ticket& ticket, const Demand& demand);

  // Gives the slot of a request back; the request waits again at its original place, preferring
  // another replica. One that could not be sent is passed over until Ticket::activate(). One that
  // may have run counts against the retry budget: false if that is used up, and the request has
  // ended. The queue's bounds do not apply.
  bool putBack(Slot slot, Ticket& ticket, const Demand& demand, RetryCause cause);

  // A new replica, not available yet; there is none at its address but such as were removed. What
  // these still have counts as its own: an address never has more than the target. The reference is
  // valid until removeReplica and the return of its last slot.
  Replica& addReplica(const net::Address& address);
  // Events of replicas that were removed are ignored: an id is never used twice.
  void setAvailable(ReplicaId id, bool available);
  // Gets nothing more; is freed when its last slot comes back.
  void removeReplica(ReplicaId id);
  // The replica says that it drains, or no longer.
  void setLeaving(ReplicaId id, bool leaving);
  // A replica that refused gets one request more, to see whether it would take it.
  void offerOne(ReplicaId id);
  // Something newer than the refusal says that the replica would take requests.
  void reopen(ReplicaId id);
  // A load report says that the replica's gate is free, or is not (TimePoint::min()). It holds
  // until a point in time, so that nobody has to notice that reports have ceased, and only decides
  // between equals, since it may be wrong.
  void setGateFreeUntil(ReplicaId id, TimePoint until);
  void setTarget(std::uint32_t concurrency_target);
  // Of newcomers; who waits already stays, even beyond them.
  void setBounds(std::uint64_t max_requests, std::uint64_t max_bytes);
  // Refuses newcomers from now on; who waits already is served.
  void drain();

  struct ReplicaSnapshot {
    ReplicaId id;
    net::Address address;
    bool available;
    bool removed;
    bool leaving;
    bool refusing;
    TimePoint gate_free_until;
    std::uint32_t in_flight;
    std::uint64_t granted;  // slots since it was added
    std::uint64_t requests;
    std::uint64_t succeeded;
    std::uint64_t failed;
  };
  struct Snapshot {
    TimePoint at;
    std::uint32_t target;
    std::uint64_t waiting;  // tickets in the queue or backing off
    std::uint64_t backing_off;
    std::uint64_t in_flight;    // slots out, those granted and not yet told included
    std::uint64_t undelivered;  // granted and not yet told
    std::uint64_t waiting_bytes;
    std::uint64_t free_slots;
    std::uint64_t accepted;  // = waiting + in_flight + done
    std::uint64_t done;
    std::uint64_t arrivals;    // accepted and refused
    std::uint64_t head_place;  // 0 if nobody waits
    Duration oldest_wait;
    // Time integrals since the start, in seconds: ∫ waiting dt, ∫ in_flight dt, and ∫ slots idle
    // while somebody waited for them dt (the hand-over to another thread).
    double waiting_seconds;
    double in_flight_seconds;
    double idle_while_waiting_seconds;
    bool any_available;
  };
  Snapshot snapshot() const;
  std::vector<ReplicaSnapshot> replicas() const;
  // Slots of one replica that are out; 0 if there is none with that id.
  std::uint32_t inFlight(ReplicaId id) const;
  // Whether any replica may be sent requests.
  bool anyAvailable() const;
  // How acquire() would refuse a request of so many bytes now, if it would. Nothing is counted.
  std::optional<Refusal> refusalNow(std::uint64_t bytes) const;
  // How long until a request that arrives now would be served: queue length ÷ slots freed a second,
  // as measured while requests waited; 1 s to 1 h.
  Duration estimatedWait() const;

 private:
  friend class Slot;
  friend class Inbox;
  friend class Ticket;
  class Change;

  // Of slots, tickets and inboxes.
  std::uint32_t refused(SlotTable::Row& row, std::uint64_t slot_number);
  void accepted(SlotTable::Row& row, std::uint64_t slot_number);
  void release(SlotTable::Row& row, bool retry);
  void leave(Ticket& ticket);
  void activate(Ticket& ticket);
  bool collect(Inbox& inbox, std::size_t max);
  void addInbox();

  // One critical section: changes the row with that id, if there is one, and grants what that
  // freed.
  template <typename Edit>
  void edit(ReplicaId id, Edit edit);

  // All below: with the lock held.
  std::optional<Refusal> refusalOf(std::uint64_t bytes) const;
  Slot handOut(SlotTable::Row& row, bool retry);
  void giveBack(SlotTable::Row& row, bool retry);
  void wait(Ticket& ticket, const Demand& demand, TimePoint now);
  void endWait(const Ticket& ticket);
  void grantWaiting(Change& change);
  void deliver(Ticket& ticket, Ticket::State state, Change& change);

  const Clock& clock_;
  mutable std::mutex mutex_;
  Settings settings_;  // the target in force is the table's
  bool draining_ = false;
  std::size_t inboxes_ = 0;
  SlotTable table_;
  TicketList queue_;
  std::uint64_t next_place_ = 1;
  QueueAccount account_;
  DrainRate drain_rate_;
};

}  // namespace penstock::proxy
