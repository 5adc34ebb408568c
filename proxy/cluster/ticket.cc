#include "proxy/cluster/ticket.h"

#include <utility>

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

Slot::Slot(Slot&& other) noexcept
    : queue_(other.queue_),
      replica_(std::exchange(other.replica_, nullptr)),
      retry_(other.retry_),
      number_(other.number_) {}

Slot& Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    release();
    queue_ = other.queue_;
    replica_ = std::exchange(other.replica_, nullptr);
    retry_ = other.retry_;
    number_ = other.number_;
  }
  return *this;
}

std::uint32_t Slot::refused() {
  return queue_->refused(*replica_, number_);
}

void Slot::accepted() {
  // Most replicas have refused nothing: no lock for them.
  if (replica_->refusing.load(std::memory_order_relaxed)) {
    queue_->accepted(*replica_, number_);
  }
}

void Slot::release() {
  if (Replica* replica = std::exchange(replica_, nullptr)) {
    queue_->release(*replica, retry_);
  }
}

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

void TicketList::append(Ticket& ticket) {
  insertAfter(last_, ticket);
}

// Who was put back walks from the front, where its place is.
void TicketList::insertByPlace(Ticket& ticket) {
  Ticket* after = last_;
  if (last_ != nullptr && last_->place_ > ticket.place_) {
    after = nullptr;
    for (Ticket* t = first_; t->place_ < ticket.place_; t = t->next_) {
      after = t;
    }
  }
  insertAfter(after, ticket);
}

void TicketList::insertAfter(Ticket* after, Ticket& ticket) {
  ticket.previous_ = after;
  ticket.next_ = after == nullptr ? first_ : after->next_;
  (after == nullptr ? first_ : after->next_) = &ticket;
  (ticket.next_ == nullptr ? last_ : ticket.next_->previous_) = &ticket;
}

void TicketList::remove(Ticket& ticket) {
  (ticket.previous_ == nullptr ? first_ : ticket.previous_->next_) = ticket.next_;
  (ticket.next_ == nullptr ? last_ : ticket.next_->previous_) = ticket.previous_;
  ticket.next_ = nullptr;
  ticket.previous_ = nullptr;
}

}  // namespace penstock::proxy
