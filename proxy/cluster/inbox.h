#pragma once

#include <cstddef>
#include <functional>

#include "proxy/cluster/ticket_list.h"

namespace penstock::proxy {

class AdmissionQueue;

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

}  // namespace penstock::proxy
