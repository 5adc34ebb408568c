#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "net/address.h"
#include "proxy/cluster/replica.h"

namespace penstock::proxy {

// The slots of one cluster: how many each replica offers, and the choice between replicas. A slot
// is taken of the replica with the fewest slots out, among equals of one whose gate is said to be
// free, and among those of the one that has waited longest for a change. The replica that refused
// the request is chosen only if no other offers a slot.
//
// Replicas that offer slots stand in levels, one for each number of slots out, and in each level in
// two lines: free gates, and all others. So a choice costs the same for any number of replicas.
// Only add(), setTarget(), and setLeaving() for the first and the last replica that stays look at
// all of them.
//
// A replica that refuses a request has slots that are no use to anybody. Its standing says how many
// of them are offered:
//   open    → holding  a request sent after the last refusal was refused
//   holding → trying   offerOne(): a pause is over, one request may try
//   trying  → holding  that request has been sent
//   holding, trying → open   a request sent after the refusal was accepted, or reopen()
// A replica that leaves (it says that it drains) offers nothing while another one is known.
//
// No lock, no clock, and no allocation but in add().
class SlotTable {
 public:
  enum class Presence : std::uint8_t { kUnavailable, kAvailable, kRemoved };
  enum class Standing : std::uint8_t { kOpen, kHolding, kTrying };
  class Row;
  using Rows = std::map<ReplicaId, std::unique_ptr<Row>>;

  explicit SlotTable(std::uint32_t target);
  ~SlotTable();
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  // A new replica, not available yet; only removed ones are at its address. What these still have
  // counts as its own: an address never has more than the target. Valid until remove() and the
  // return of its last slot.
  Row& add(const net::Address& address);
  // Null if there is none with that id that is not removed. An id is never used twice.
  Row* find(ReplicaId id) const;
  const Rows& rows() const { return rows_; }

  void remove(Row& row);
  void setAvailable(Row& row, bool available);
  void setLeaving(Row& row, bool leaving);
  void setGateFreeUntil(Row& row, TimePoint until);
  void setTarget(std::uint32_t target);
  std::uint32_t target() const { return target_; }

  // Over all replicas.
  std::uint64_t freeSlots() const { return free_slots_; }
  std::uint64_t inFlight() const { return in_flight_; }
  std::size_t available() const { return available_; }

  // Takes one of the free slots; there must be one. avoid: the replica that refused the request, 0
  // if none did.
  Row& take(ReplicaId avoid, TimePoint now);
  // A number for a slot that is handed out now. It rises with time.
  std::uint64_t nextNumber() { return next_number_++; }
  void giveBack(Row& row);

  // The replica refused the request of the slot with this number. Returns how many refusals that
  // makes in a row; 0 if this one is no news, since the request was sent before the last refusal.
  std::uint32_t refused(Row& row, std::uint64_t slot_number);
  // The replica accepted that request.
  void accepted(Row& row, std::uint64_t slot_number);
  void offerOne(Row& row);
  void reopen(Row& row);

 private:
  using Line = std::list<Row*>;
  // All rows of one address.
  struct Site {
    Row* current = nullptr;       // the one that is not removed
    std::uint32_t inherited = 0;  // slots of the removed ones that are still out
  };
  // Rows that offer slots and have the same load.
  struct Level {
    std::uint32_t load = 0;
    Line gate_free;  // or was when the row joined this line
    Line others;
  };
  using Levels = std::list<Level>;

  std::uint32_t offers(const Row& row) const;
  void placeAll();
  void place(Row& row);
  void move(Row& row, Line& line);
  Levels::iterator levelOf(const Row& row);
  void setPresence(Row& row, Presence presence);
  void setStaying(std::size_t staying, Row& changed);
  void stand(Row& row, Standing standing);
  Row& leastLoaded(TimePoint now);
  void freeIfUnused(Row& row);

  std::uint32_t target_;
  Rows rows_;
  std::unordered_map<std::string, Site> sites_;  // by address
  Line resting_;                                 // offer nothing
  Levels levels_;                                // those in use, by load
  Levels spare_levels_;                          // with levels_ one more than rows
  std::size_t staying_ = 0;                      // rows that are not removed and do not leave
  std::size_t available_ = 0;
  std::uint64_t free_slots_ = 0;
  std::uint64_t in_flight_ = 0;
  ReplicaId next_id_ = 1;
  std::uint64_t next_number_ = 1;
};

// One replica. Written by the table only.
class SlotTable::Row {
 public:
  Row(ReplicaId id, const net::Address& address) : replica(id, address) {}

  bool removed() const { return presence_ == Presence::kRemoved; }
  bool available() const { return presence_ == Presence::kAvailable; }
  bool leaving() const { return leaving_; }
  bool refusing() const { return standing_ != Standing::kOpen; }
  TimePoint gateFreeUntil() const { return gate_free_until_; }
  std::uint32_t inFlight() const { return in_flight_; }
  std::uint64_t granted() const { return granted_; }  // slots since it was added

  Replica replica;

 private:
  friend class SlotTable;
  // What counts against the target.
  std::uint32_t load() const { return in_flight_ + (removed() ? 0 : site_->inherited); }

  std::uint32_t in_flight_ = 0;
  std::uint32_t offered_ = 0;  // its part of free_slots_
  Presence presence_ = Presence::kUnavailable;
  Standing standing_ = Standing::kOpen;
  bool leaving_ = false;
  TimePoint gate_free_until_ = TimePoint::min();
  Site* site_ = nullptr;
  Line* line_ = nullptr;
  Line::iterator place_;                   // in *line_
  std::optional<Levels::iterator> level_;  // that line_ is of, unless it is resting_
  std::uint64_t granted_ = 0;
  std::uint32_t refusals_ = 0;        // in a row, each newer than the one before
  std::uint64_t refused_before_ = 0;  // slots with a lower number were out at the last refusal
};

}  // namespace penstock::proxy
