#include "proxy/cluster/ticket_list.h"

#include "proxy/cluster/ticket.h"

namespace penstock::proxy {

void TicketList::append(Ticket& ticket) {
  insertAfter(last_, ticket);
}

// A request that was put back is near the front, so the walk begins there.
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
