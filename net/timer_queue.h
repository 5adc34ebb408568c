#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "net/event_loop.h"

namespace penstock::net {

// The armed timers of one loop: a binary heap by the time at which each is looked at next. That
// time is never later than the timer's due time but may be earlier: a timer that is postponed or
// disarmed keeps its place, and only when its old time comes is it moved or dropped. Re-arming, as
// each byte of progress does, is then a store.
class TimerQueue {
 public:
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

  // Makes sure that timer is looked at by its due time.
  void update(Timer& timer, TimePoint now);
  void remove(Timer& timer);
  // When to look next; TimePoint::max() if never.
  TimePoint nextLook() const { return heap_.empty() ? TimePoint::max() : heap_.front().look_at; }

  // Starts a pass: what is armed from now on fires in a later pass, however early it is due.
  void beginPass() { ++pass_; }
  // Takes out the next timer that is due in this pass, disarmed; null if there is none.
  Timer* takeDue(TimePoint now);

 private:
  struct Entry {
    TimePoint look_at;
    Timer* timer;
  };
  void place(std::size_t index, Entry entry);
  void siftUp(std::size_t index);
  void siftDown(std::size_t index);

  std::vector<Entry> heap_;
  std::uint64_t pass_ = 0;
};

}  // namespace penstock::net
