#pragma once

namespace penstock::proxy {

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

}  // namespace penstock::proxy
