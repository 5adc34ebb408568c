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
#include "proxy/cluster/replica.h"
#include "proxy/cluster/ticket.h"

namespace penstock::proxy {

enum class Refusal { kQueueFull, kQueueBytesFull, kDraining, kRetryBudget };
struct Waiting {};
// Exactly one of the three answers to a request for a slot.
using Admission = std::variant<Slot, Waiting, Refusal>;

// The queue in front of the replicas of one cluster: strict about the concurrency target, first
// come first served, never idle while somebody waits. acquire() decides once, under one lock: a
// slot (replica chosen and reserved), a wait, or a refusal. A freed slot is handed to the head of
// the queue, never put back and raced for.
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

  // A request whose replica provably did not run it gives its slot back and waits again at its
  // original place, preferring another replica. With back_off (it could not even be sent) it is
  // passed over until Ticket::activate(); else it is refused when too many requests are being
  // retried: then the request has ended. Never refused for the bounds.
  std::optional<Refusal> putBack(Slot slot, Ticket& ticket, const Demand& demand, bool back_off);

  // A new replica, not available yet; there is none at its address but such as were removed. What
  // these still have counts as its own: an address never has more than the target. The reference is
  // valid until removeReplica and the return of its last slot.
  Replica& addReplica(const net::Address& address);
  // Events of replicas that were removed are ignored: an id is never used twice.
  void setAvailable(ReplicaId id, bool available);
  // Gets nothing more; is freed when its last slot comes back.
  void removeReplica(ReplicaId id);
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
    std::uint32_t in_flight;
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

  struct Entry final : Replica {
    using Replica::Replica;
    // What counts against the target.
    std::uint32_t load() const { return in_flight + inherited; }

    std::uint32_t in_flight = 0;
    std::uint32_t inherited = 0;  // slots of those removed at the same address that are still out
    bool available = false;
    bool removed = false;
  };

  void release(Replica& replica, bool retry);
  void leave(Ticket& ticket);
  void activate(Ticket& ticket);
  bool collect(Inbox& inbox, std::size_t max);
  void addInbox();

  // All below: with the lock held.
  std::optional<Refusal> refusalOf(std::uint64_t bytes) const;
  std::uint64_t freeSlots(const Entry& entry) const;
  Entry* find(ReplicaId id);
  Entry& takeSlot(ReplicaId avoid, TimePoint now);
  void giveBack(Replica& replica, bool retry);
  void afterRemoval(Entry& entry);
  void inherit(std::string_view address);
  void wait(Ticket& ticket, const Demand& demand, TimePoint now);
  void grantWaiting(Change& change);
  void deliver(Ticket& ticket, Ticket::State state, Change& change);
  void account(TimePoint now);

  const Clock& clock_;
  mutable std::mutex mutex_;
  Settings settings_;
  bool draining_ = false;
  std::size_t inboxes_ = 0;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::size_t rotation_ = 0;
  ReplicaId next_id_ = 1;
  std::uint64_t next_place_ = 1;
  TicketList queue_;
  std::uint64_t free_slots_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t backing_off_ = 0;
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t in_flight_ = 0;
  std::uint64_t undelivered_ = 0;
  std::uint64_t retrying_ = 0;
  std::uint64_t accepted_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t refused_ = 0;
  TimePoint accounted_until_;
  double waiting_seconds_ = 0;
  double in_flight_seconds_ = 0;
  double idle_while_waiting_seconds_ = 0;
  DrainRate drain_rate_;
};

}  // namespace penstock::proxy
