#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/deadline.h"
#include "proxy/cluster/inbox.h"
#include "proxy/cluster/slot.h"

namespace penstock::proxy {

// A place in an admission queue, kept by the request for its whole life, so that a request that is
// put back stands where it stood. Destroying it leaves the queue in O(1), whatever it had been
// granted but not told goes to the next. Used on its inbox's worker only.
class Ticket {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // From Inbox::collect(). The ticket waits no longer; the owner may destroy it.
    virtual void onGranted(Slot slot) = 0;
    // The deadline had passed when its turn came. As above.
    virtual void onExpired() = 0;
  };

  Ticket(Inbox& inbox, Owner& owner) : inbox_(inbox), owner_(owner) {}
  ~Ticket() { leave(); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  void leave();
  // Ends a back-off (AdmissionQueue::putBack): the request may be granted a slot again.
  void activate();
  bool waits() const { return waits_; }
  // Arrival order in the queue; 0 before the first acquire().
  std::uint64_t place() const { return place_; }

 private:
  friend class AdmissionQueue;
  friend class TicketList;
  enum class State : std::uint8_t { kIdle, kWaiting, kBackingOff, kGranted, kExpired };

  Inbox& inbox_;
  Owner& owner_;
  // On the worker only: in the queue, or granted and not yet told.
  bool waits_ = false;
  std::uint64_t place_ = 0;
  // Guarded by the queue's mutex from here on.
  State state_ = State::kIdle;
  bool retry_ = false;
  std::uint64_t bytes_ = 0;
  Deadline deadline_ = Deadline::never();
  TimePoint since_{};
  SlotTable::Row* granted_ = nullptr;
  ReplicaId avoid_ = 0;     // the replica that refused it
  Ticket* next_ = nullptr;  // in the queue or in the inbox
  Ticket* previous_ = nullptr;
};

}  // namespace penstock::proxy
