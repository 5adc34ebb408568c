#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "base/deadline.h"
#include "proxy/cluster/replica.h"

namespace penstock::proxy {

class AdmissionQueue;
class Ticket;

// Tickets in order, linked through themselves.
class TicketList {
 public:
  Ticket* first() const { return first_; }
  bool empty() const { return first_ == nullptr; }
  void append(Ticket& ticket);
  // Keeps the list in arrival order; cheap at either end.
  void insertByPlace(Ticket& ticket);
  void remove(Ticket& ticket);

 private:
  void insertAfter(Ticket* after, Ticket& ticket);
  Ticket* first_ = nullptr;
  Ticket* last_ = nullptr;
};

// The right to run one request on one replica. Destroying it returns it: the longest waiting
// request gets it at once. Movable; may be destroyed on any thread. The queue outlives it.
class Slot {
 public:
  Slot() = default;
  ~Slot() { release(); }
  Slot(Slot&& other) noexcept;
  Slot& operator=(Slot&& other) noexcept;

  bool valid() const { return replica_ != nullptr; }
  // Lives at least as long as the slot.
  Replica& replica() const { return *replica_; }
  void release();

  // The replica refused the request: it gets no other until something newer says that it would
  // take one (AdmissionQueue::offerOne, reopen). Returns how many refusals that makes in a row; 0
  // if this one is no news, since the request was sent before the last refusal.
  std::uint32_t refused();
  // The replica has begun to answer. If the request was sent after the last refusal, that is over.
  void accepted();

 private:
  friend class AdmissionQueue;
  Slot(AdmissionQueue* queue, Replica* replica, bool retry, std::uint64_t number)
      : queue_(queue), replica_(replica), retry_(retry), number_(number) {}

  AdmissionQueue* queue_ = nullptr;
  Replica* replica_ = nullptr;
  bool retry_ = false;
  std::uint64_t number_ = 0;  // rises from one slot handed out to the next
};

// Where a queue leaves what it granted to the waiters of one worker. The wake function is called
// outside the queue's lock, from any thread (from two at once, if need be), when the inbox was
// empty before; it arranges that the worker calls collect(). Outlives its tickets and every other
// thread's use of the queue.
class Inbox {
 public:
  Inbox(AdmissionQueue& queue, std::move_only_function<void()> wake);
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // On the worker: tells up to max waiters what they got. Returns whether more are left.
  bool collect(std::size_t max);

 private:
  friend class AdmissionQueue;
  friend class Ticket;
  AdmissionQueue& queue_;
  std::move_only_function<void()> wake_;
  // Guarded by the queue's mutex.
  TicketList answered_;
  bool woken_ = false;
};

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
  Replica* granted_ = nullptr;
  ReplicaId avoid_ = 0;     // the replica that refused it
  Ticket* next_ = nullptr;  // in the queue or in the inbox
  Ticket* previous_ = nullptr;
};

}  // namespace penstock::proxy
