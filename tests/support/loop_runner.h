#pragma once

#include <functional>

#include "net/event_loop.h"

namespace penstock::net {

// Runs the loop in this thread until done() holds; looked at each millisecond, for ten seconds of
// the loop's clock at most. Returns whether it held.
inline bool runUntil(EventLoop& loop, const std::function<bool()>& done) {
  const TimePoint give_up = loop.clock().now() + std::chrono::seconds(10);
  bool held = false;
  std::function<void()> look;
  Timer timer(loop, [&look] { look(); });
  look = [&] {
    held = done();
    if (held || loop.now() >= give_up) {
      loop.stop();
    } else {
      timer.armAfter(std::chrono::milliseconds(1));
    }
  };
  timer.arm(loop.now());
  loop.run();
  return held;
}

// Runs one turn that does not sleep, and what the turn itself leaves for the next.
inline void runTurn(EventLoop& loop) {
  loop.stop();
  loop.run();
}

// Runs turns that do not sleep until done() holds, for ten seconds at most: for a loop whose clock
// the test moves by hand. Returns whether it held.
inline bool turnUntil(EventLoop& loop, const std::function<bool()>& done) {
  const SteadyClock real_time;
  const TimePoint give_up = real_time.now() + std::chrono::seconds(10);
  while (!done()) {
    if (real_time.now() >= give_up) {
      return false;
    }
    runTurn(loop);
  }
  return true;
}

}  // namespace penstock::net
