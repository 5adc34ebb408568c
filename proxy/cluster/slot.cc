#include "proxy/cluster/slot.h"

#include <utility>

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

Slot::Slot(Slot&& other) noexcept
    : queue_(other.queue_),
      row_(std::exchange(other.row_, nullptr)),
      retry_(other.retry_),
      number_(other.number_) {}

Slot& Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    release();
    queue_ = other.queue_;
    row_ = std::exchange(other.row_, nullptr);
    retry_ = other.retry_;
    number_ = other.number_;
  }
  return *this;
}

std::uint32_t Slot::refused() {
  return queue_->refused(*row_, number_);
}

void Slot::accepted() {
  // Most replicas have refused nothing: no lock for them.
  if (row_->replica.refusing.load(std::memory_order_relaxed)) {
    queue_->accepted(*row_, number_);
  }
}

void Slot::release() {
  if (SlotTable::Row* row = std::exchange(row_, nullptr)) {
    queue_->release(*row, retry_);
  }
}

}  // namespace penstock::proxy
