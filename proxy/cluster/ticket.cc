#include "proxy/cluster/ticket.h"

#include <utility>

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

Inbox::Inbox(AdmissionQueue& queue, std::move_only_function<void()> wake)
    : queue_(queue), wake_(std::move(wake)) {
  queue_.addInbox();
}

bool Inbox::collect(std::size_t max) {
  return queue_.collect(*this, max);
}

void Ticket::leave() {
  if (waits_) {
    waits_ = false;
    inbox_.queue_.leave(*this);
  }
}

void Ticket::activate() {
  if (waits_) {
    inbox_.queue_.activate(*this);
  }
}

}  // namespace penstock::proxy
