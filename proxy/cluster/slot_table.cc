#include "proxy/cluster/slot_table.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace penstock::proxy {

SlotTable::SlotTable(std::uint32_t target) : target_(target), spare_levels_(1) {
  PENSTOCK_CHECK(target >= 1, "a concurrency target is at least 1");
}

SlotTable::~SlotTable() = default;

SlotTable::Row& SlotTable::add(const net::Address& address) {
  const ReplicaId id = next_id_++;
  Row& row = *rows_.emplace(id, std::make_unique<Row>(id, address)).first->second;
  row.site_ = &sites_[row.replica.name];
  PENSTOCK_CHECK(row.site_->current == nullptr, "an address has one replica at a time");
  row.site_->current = &row;
  row.line_ = &resting_;
  row.place_ = resting_.insert(resting_.end(), &row);
  spare_levels_.emplace_back();
  setStaying(staying_ + 1, row);
  return row;
}

SlotTable::Row* SlotTable::find(ReplicaId id) const {
  const auto it = rows_.find(id);
  return it == rows_.end() || it->second->removed() ? nullptr : it->second.get();
}

void SlotTable::remove(Row& row) {
  setPresence(row, Presence::kRemoved);
  row.site_->current = nullptr;
  row.site_->inherited += row.in_flight_;
  setStaying(staying_ - (row.leaving_ ? 0 : 1), row);
  freeIfUnused(row);
}

void SlotTable::setAvailable(Row& row, bool available) {
  setPresence(row, available ? Presence::kAvailable : Presence::kUnavailable);
  place(row);
}

void SlotTable::setPresence(Row& row, Presence presence) {
  available_ -= row.available() ? 1 : 0;
  row.presence_ = presence;
  available_ += row.available() ? 1 : 0;
}

void SlotTable::setLeaving(Row& row, bool leaving) {
  if (std::exchange(row.leaving_, leaving) != leaving) {
    setStaying(leaving ? staying_ - 1 : staying_ + 1, row);
  }
}

// Whether any replica stays decides what those that leave offer.
void SlotTable::setStaying(std::size_t staying, Row& changed) {
  const bool any_stayed = staying_ > 0;
  staying_ = staying;
  if (any_stayed != (staying_ > 0)) {
    placeAll();
  } else {
    place(changed);
  }
}

void SlotTable::setGateFreeUntil(Row& row, TimePoint until) {
  row.gate_free_until_ = until;
  if (row.level_.has_value()) {
    Level& level = **row.level_;
    move(row, until > TimePoint::min() ? level.gate_free : level.others);
  }
}

void SlotTable::setTarget(std::uint32_t target) {
  PENSTOCK_CHECK(target >= 1, "a concurrency target is at least 1");
  target_ = target;
  placeAll();
}

SlotTable::Row& SlotTable::take(ReplicaId avoid, TimePoint now) {
  PENSTOCK_CHECK(free_slots_ > 0, "there is a free slot when one is taken");
  Row* const avoided = avoid == 0 ? nullptr : find(avoid);
  const bool passed_over = avoided != nullptr && avoided->offered_ > 0;
  if (passed_over) {
    move(*avoided, resting_);
  }
  Row& row = levels_.empty() ? *avoided : leastLoaded(now);
  ++row.in_flight_;
  ++in_flight_;
  ++row.granted_;
  if (row.standing_ == Standing::kTrying) {
    row.standing_ = Standing::kHolding;
  }
  place(row);
  if (passed_over && &row != avoided) {
    place(*avoided);
  }
  return row;
}

SlotTable::Row& SlotTable::leastLoaded(TimePoint now) {
  Level& least = levels_.front();
  while (!least.gate_free.empty()) {
    Row& row = *least.gate_free.front();
    if (now < row.gate_free_until_) {
      return row;
    }
    move(row, least.others);
  }
  return *least.others.front();
}

void SlotTable::giveBack(Row& row) {
  --row.in_flight_;
  --in_flight_;
  if (!row.removed()) {
    place(row);
    return;
  }
  --row.site_->inherited;
  if (row.site_->current != nullptr) {
    place(*row.site_->current);
  }
  freeIfUnused(row);
}

void SlotTable::freeIfUnused(Row& row) {
  if (row.in_flight_ > 0) {
    return;
  }
  if (row.site_->current == nullptr && row.site_->inherited == 0) {
    sites_.erase(row.replica.name);
  }
  resting_.erase(row.place_);
  spare_levels_.pop_front();
  rows_.erase(row.replica.id);
}

std::uint32_t SlotTable::refused(Row& row, std::uint64_t slot_number) {
  if (slot_number < row.refused_before_) {
    return 0;
  }
  row.refused_before_ = next_number_;
  stand(row, Standing::kHolding);
  return ++row.refusals_;
}

void SlotTable::accepted(Row& row, std::uint64_t slot_number) {
  if (slot_number >= row.refused_before_) {
    row.refusals_ = 0;
    stand(row, Standing::kOpen);
  }
}

void SlotTable::offerOne(Row& row) {
  if (row.standing_ == Standing::kHolding) {
    stand(row, Standing::kTrying);
  }
}

void SlotTable::reopen(Row& row) {
  stand(row, Standing::kOpen);
}

void SlotTable::stand(Row& row, Standing standing) {
  row.standing_ = standing;
  row.replica.refusing.store(row.refusing(), std::memory_order_relaxed);
  place(row);
}

std::uint32_t SlotTable::offers(const Row& row) const {
  const std::uint32_t load = row.load();
  if (!row.available() || load >= target_ || row.standing_ == Standing::kHolding ||
      (row.leaving_ && staying_ > 0)) {
    return 0;
  }
  return row.standing_ == Standing::kTrying ? 1 : target_ - load;
}

void SlotTable::placeAll() {
  for (const auto& [id, row] : rows_) {
    place(*row);
  }
}

// After any change to a row: it stands where its load and its gate say, and free_slots_ is the sum
// over all.
void SlotTable::place(Row& row) {
  free_slots_ -= row.offered_;
  row.offered_ = offers(row);
  free_slots_ += row.offered_;
  if (row.offered_ == 0) {
    move(row, resting_);
    return;
  }
  const auto level = levelOf(row);
  const bool gate_free = row.gate_free_until_ > TimePoint::min();
  move(row, gate_free ? level->gate_free : level->others);
  row.level_ = level;
}

// To the end of the line, unless it stands there. A level without rows is spare.
void SlotTable::move(Row& row, Line& line) {
  if (row.line_ == &line) {
    return;
  }
  line.splice(line.end(), *row.line_, row.place_);
  row.line_ = &line;
  if (!row.level_.has_value()) {
    return;
  }
  const auto left = *row.level_;
  if (&line == &left->gate_free || &line == &left->others) {
    return;
  }
  row.level_.reset();
  if (left->gate_free.empty() && left->others.empty()) {
    spare_levels_.splice(spare_levels_.begin(), levels_, left);
  }
}

// The level of a row's load, which is made if there is none. Mostly it is beside the row's present
// one, or the last, where rows come in that had no free slot.
SlotTable::Levels::iterator SlotTable::levelOf(const Row& row) {
  const std::uint32_t load = row.load();
  auto at = row.level_.value_or(levels_.end());
  while (at != levels_.begin() && std::prev(at)->load >= load) {
    --at;
  }
  while (at != levels_.end() && at->load < load) {
    ++at;
  }
  if (at == levels_.end() || at->load != load) {
    levels_.splice(at, spare_levels_, spare_levels_.begin());
    --at;
    at->load = load;
  }
  return at;
}

}  // namespace penstock::proxy
