#pragma once

#include <mutex>
#include <vector>

#include "net/event_loop.h"
#include "net/timer_queue.h"
#include "net/unique_fd.h"

struct event_base;

namespace penstock::net {

// What an EventLoop and the things that live on it share. Only for the sources of event_loop.h.
struct EventLoop::State {
  explicit State(const Clock& clock);
  ~State();

  // The turn's time is taken when its first callback runs.
  void beginCallbacks();
  // Calls callback(arguments…) for owner, which it may destroy: the callback then ends with the
  // call.
  template <typename Callback, typename... Arguments>
  void call(const void* owner, Callback& callback, Arguments... arguments) {
    Callback running = std::move(callback);
    calling = owner;
    running(arguments...);
    if (calling == owner) {
      callback = std::move(running);
    }
    calling = nullptr;
  }
  // To be told by each owner that is destroyed.
  void forget(const void* owner) {
    if (calling == owner) {
      calling = nullptr;
    }
  }

  void turn() noexcept;
  // Whether the turn may sleep; if so, the next foreign post() wakes it.
  bool prepareToSleep();
  // Sees to it that the loop wakes for the next timer; false if that is due already.
  bool setAlarm();
  void runTimers();
  void runTasks();
  void runDeferred();
  void freeGarbage();
  void wake();
  // Destroys what waits, unrun.
  void dropWork();

  const Clock& clock;
  event_base* base = nullptr;
  TimePoint now{};
  bool now_known = false;
  bool stopping = false;

  TimerQueue timers;
  // The time for which alarm_fd is set.
  TimePoint alarm = TimePoint::max();
  UniqueFd alarm_fd;
  event* alarm_event = nullptr;

  std::vector<Task> own_tasks;
  std::vector<Task> foreign_tasks;
  std::vector<Task> running_tasks;
  DeferredLink deferred;
  std::vector<Garbage> garbage;
  std::vector<Garbage> freed;
  // The owner of the callback under way; null when it has been destroyed.
  const void* calling = nullptr;

  UniqueFd wake_fd;
  event* wake_event = nullptr;
  std::mutex mutex;
  // Guarded by mutex.
  std::vector<Task> inbox;
  bool asleep = false;
  bool stop_requested = false;
};

inline bool isLinked(const DeferredLink& link) {
  return link.next != nullptr;
}

inline void unlink(DeferredLink& link) {
  link.next->previous = link.previous;
  link.previous->next = link.next;
  link.next = nullptr;
  link.previous = nullptr;
}

// At the end of the circular list that begins at head.
inline void linkLast(DeferredLink& head, DeferredLink& link) {
  link.next = &head;
  link.previous = head.previous;
  head.previous->next = &link;
  head.previous = &link;
}

}  // namespace penstock::net
