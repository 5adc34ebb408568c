#pragma once

#include <cstdint>
#include <map>

#include "net/event_loop.h"

namespace penstock::sidecar {

// The line of calls that wait for a model server that takes no connection: it is perhaps started
// again, which takes a second or two. One call tries after each pause, the oldest first; once one
// has a connection, all the others try. Each call bounds its waiting itself. Loop thread only.
class AwayServer {
 public:
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // It is out of the line. If it fails again, it waits again, at its old place.
    virtual void onTryAgain() = 0;
  };

  explicit AwayServer(net::EventLoop& loop) : try_(loop, [this] { onTimer(); }) {}

  // place: the lowest tries first; one waiter each. False: the server does not come back.
  bool wait(std::uint64_t place, Waiter& waiter);
  bool empty() const { return waiters_.empty(); }
  void leave(std::uint64_t place) { waiters_.erase(place); }
  // A call has a connection.
  void onConnected();
  // The server has ended for good; the waiters are ended by somebody else.
  void onServerEnded() { state_ = State::kEnded; }

 private:
  // Away until shown otherwise; back: all who wait may try.
  enum class State { kAway, kBack, kEnded };

  void onTimer();
  void release(std::map<std::uint64_t, Waiter*>::iterator waiter);

  State state_ = State::kAway;
  std::map<std::uint64_t, Waiter*> waiters_;
  Duration pause_ = kFirstPause;
  net::Timer try_;

  static constexpr Duration kFirstPause = std::chrono::milliseconds(25);
  static constexpr Duration kLongestPause = std::chrono::milliseconds(250);
};

}  // namespace penstock::sidecar
