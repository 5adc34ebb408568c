#pragma once

#include <cstdint>

#include "proxy/cluster/slot_table.h"

namespace penstock::proxy {

class AdmissionQueue;

// The right to run one request on one replica. Destroying it returns it: the longest waiting
// request gets it at once. Movable; may be destroyed on any thread. The queue outlives it.
class Slot {
 public:
  Slot() = default;
  ~Slot() { release(); }
  Slot(Slot&& other) noexcept;
  Slot& operator=(Slot&& other) noexcept;

  bool valid() const { return row_ != nullptr; }
  // Lives at least as long as the slot.
  Replica& replica() const { return row_->replica; }
  void release();

  // The replica refused the request: it gets no other until something newer says that it would
  // take one (AdmissionQueue::offerOne, reopen). Returns how many refusals that makes in a row; 0
  // if this one is no news, since the request was sent before the last refusal.
  std::uint32_t refused();
  // The replica has begun to answer. If the request was sent after the last refusal, that is over.
  void accepted();

 private:
  friend class AdmissionQueue;
  Slot(AdmissionQueue& queue, SlotTable::Row& row, bool retry, std::uint64_t number)
      : queue_(&queue), row_(&row), retry_(retry), number_(number) {}

  AdmissionQueue* queue_ = nullptr;
  SlotTable::Row* row_ = nullptr;
  bool retry_ = false;
  std::uint64_t number_ = 0;  // rises from one slot handed out to the next
};

}  // namespace penstock::proxy
