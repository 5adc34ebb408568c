#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"

struct event;

namespace penstock::net {

// One thread's event loop (libevent). Everything but post() and stop() belongs to the loop's
// thread.
//
// A turn: wait for I/O or timers, run their callbacks, run what was posted, run what is Deferred,
// then free what destroyLater() collected. Work posted while posted work runs, and work deferred
// while deferred work runs, belongs to the next turn, which then does not sleep: nothing recurses,
// I/O is not starved. An exception that leaves a callback ends the program.
class EventLoop {
 public:
  using Task = std::move_only_function<void()>;

  explicit EventLoop(const Clock& clock);
  // After everything that was made on the loop.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop(). Tasks posted after that run when run() is called again, or are destroyed
  // unrun with the loop.
  void run();
  // Thread-safe, also from a callback; the turn under way is finished. What this thread posted
  // before is run first. Stopping a loop that does not run makes its next run() end after one turn.
  void stop();
  // Thread-safe. Runs the task once on the loop's thread; order is kept per posting thread. From
  // the loop's own thread it costs no system call; from another, one eventfd write only if the loop
  // sleeps (or is about to) and nobody has woken it yet.
  void post(Task task);
  // Whether this thread is the one inside run().
  bool inLoopThread() const;

  // The time at which this turn began (cheap); clock().now() for the precise time.
  TimePoint now() const;
  const Clock& clock() const;

  // Keeps object alive until the end of this turn: for what may end inside its own callback.
  template <typename T>
  void destroyLater(std::unique_ptr<T> object) {
    if (object != nullptr) {
      collect(Garbage(object.release(), [](void* p) { delete static_cast<T*>(p); }));
    }
  }

 private:
  friend class Timer;
  friend class FdWatch;
  friend class Deferred;
  friend class SignalWatch;
  struct State;
  using Garbage = std::unique_ptr<void, void (*)(void*)>;
  void collect(Garbage garbage);
  std::unique_ptr<State> state_;
};

// Calls back once when it is due. Destroying it disarms it. Loop thread only; the callback may
// re-arm or destroy the timer. Postponing or disarming an armed timer costs no more than a store.
class Timer {
 public:
  Timer(EventLoop& loop, std::move_only_function<void()> callback);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Replaces an earlier due time. A time that has passed fires at the next chance, never from here.
  // TimePoint::max() disarms.
  void arm(TimePoint due);
  // Counted from the loop's now().
  void armAfter(Duration delay);
  void disarm() { due_ = TimePoint::max(); }
  bool armed() const { return due_ != TimePoint::max(); }

 private:
  friend class EventLoop;
  friend class TimerQueue;
  EventLoop& loop_;
  std::move_only_function<void()> callback_;
  TimePoint due_ = TimePoint::max();
  // Where the queue holds it, under a time not later than due_ (see timer_queue.h).
  std::size_t index_ = static_cast<std::size_t>(-1);
  std::uint64_t armed_in_pass_ = 0;
};

// Readiness of one descriptor, level-triggered. Does not own the descriptor, which is closed only
// after the watch ended. Loop thread only; the callback may destroy the watch.
class FdWatch {
 public:
  struct Ready {
    bool readable;
    bool writable;
  };
  // Nothing is watched until set(). An error or hang-up is reported as the readiness that is
  // watched.
  FdWatch(EventLoop& loop, int fd, std::move_only_function<void(Ready)> callback);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // A system call only for what changes.
  void set(bool read, bool write);

 private:
  static void onEvent(int fd, short what, void* self) noexcept;
  void watch(event*& slot, short what, bool on);

  EventLoop& loop_;
  std::move_only_function<void(Ready)> callback_;
  event* read_ = nullptr;
  event* write_ = nullptr;
  int fd_;
  bool reading_ = false;
  bool writing_ = false;
};

// A place in the loop's list of deferred work; null links when in no list.
struct DeferredLink {
  DeferredLink* next = nullptr;
  DeferredLink* previous = nullptr;
};

// Something to do once, later in this turn, however often it is asked for: the place where dirty
// connections are flushed. Destroying it cancels. Loop thread only, no allocation per schedule().
class Deferred : private DeferredLink {
 public:
  Deferred(EventLoop& loop, std::move_only_function<void()> callback);
  ~Deferred();
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  void schedule();
  void cancel();

 private:
  friend class EventLoop;
  EventLoop& loop_;
  std::move_only_function<void()> callback_;
};

// Calls back in the loop's thread when the process gets a signal. Only one loop of a process may
// have such watches.
class SignalWatch {
 public:
  SignalWatch(EventLoop& loop, int signal, std::move_only_function<void()> callback);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  static void onEvent(int signal, short what, void* self) noexcept;

  EventLoop& loop_;
  std::move_only_function<void()> callback_;
  event* event_ = nullptr;
};

}  // namespace penstock::net
