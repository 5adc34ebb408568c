#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"

namespace penstock::net {

// One thread's event loop (libevent). Everything but post() and stop() belongs to the loop's thread.
//
// A turn: wait for I/O or timers, run their callbacks, run what was deferred (post() from the loop's
// own thread and Deferred), then free what destroyLater() collected. Work deferred while deferred
// work runs belongs to the next turn, which then does not sleep: nothing recurses, I/O is not starved.
class EventLoop {
 public:
  using Task = std::move_only_function<void()>;

  explicit EventLoop(const Clock& clock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop(). Tasks posted after that run when run() is called again, or are destroyed unrun
  // with the loop.
  void run();
  // Thread-safe, also from a callback; the turn under way is finished.
  void stop();
  // Thread-safe. Runs the task once on the loop's thread; order is kept per posting thread. From the
  // loop's own thread it costs no system call; from another, one eventfd write only if the loop
  // sleeps (or is about to) and nobody has woken it yet.
  void post(Task task);
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

// Calls back once when it is due. Destroying it disarms it. Loop thread only; the callback may re-arm
// or destroy the timer.
class Timer {
 public:
  Timer(EventLoop& loop, std::move_only_function<void()> callback);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Replaces an earlier due time. A time that has passed fires in the next turn. TimePoint::max()
  // disarms.
  void arm(TimePoint due);
  void armAfter(Duration delay);
  void disarm();
  bool armed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Readiness of one descriptor, level-triggered. Does not own the descriptor. Loop thread only; the
// callback may destroy the watch.
class FdWatch {
 public:
  struct Ready {
    bool readable;
    bool writable;
  };
  // Nothing is watched until set().
  FdWatch(EventLoop& loop, int fd, std::move_only_function<void(Ready)> callback);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  void set(bool read, bool write);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Something to do once, later in this turn, however often it is asked for: the place where dirty
// connections are flushed. Destroying it cancels. Loop thread only, no allocation per schedule().
class Deferred {
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
  // Links of the loop's intrusive list; null when not scheduled.
  Deferred* next_ = nullptr;
  Deferred* previous_ = nullptr;
};

// Calls back in the loop's thread when the process gets a signal.
class SignalWatch {
 public:
  SignalWatch(EventLoop& loop, int signal, std::move_only_function<void()> callback);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock::net
