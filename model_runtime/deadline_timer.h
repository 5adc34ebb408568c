#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/deadline.h"

namespace penstock::runtime {

// One thread that calls back when a point in time has come. Its thread is woken only by a time
// earlier than all it knows. Thread-safe. Times are those of CLOCK_MONOTONIC.
class DeadlineTimer {
 public:
  // Something with a time. Shared, because the timer may be about to call it while its owner ends
  // it.
  class Entry {
   public:
    virtual ~Entry() = default;
    // On the timer's thread, with no lock held. May call set() and clear().
    virtual void onDue() = 0;

   private:
    friend class DeadlineTimer;
    TimePoint due_ = TimePoint::max();  // guarded by the timer's lock
  };

  DeadlineTimer();
  ~DeadlineTimer();
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  // Calls entry once at that time, instead of any earlier set. never() is clear().
  void set(const std::shared_ptr<Entry>& entry, Deadline when);
  // A call under way on the timer's thread may still be finishing when this returns.
  void clear(const std::shared_ptr<Entry>& entry);
  // Calls nobody any more, and joins.
  void stop();

 private:
  void work();
  void erase(const std::shared_ptr<Entry>& entry);

  std::mutex mutex_;  // guards everything below but thread_
  std::condition_variable earlier_;
  std::set<std::pair<TimePoint, std::shared_ptr<Entry>>> entries_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace penstock::runtime
