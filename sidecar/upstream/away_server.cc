#include "sidecar/upstream/away_server.h"

#include <algorithm>

namespace penstock::sidecar {

bool AwayServer::wait(std::uint64_t place, Waiter& waiter) {
  if (state_ == State::kEnded) {
    return false;
  }
  waiters_.emplace(place, &waiter);
  if (!try_.armed()) {
    try_.armAfter(pause_);
  }
  return true;
}

void AwayServer::onTimer() {
  if (state_ == State::kBack) {
    state_ = State::kAway;
    // A call that fails at once waits again, and is not tried twice here.
    for (auto at = waiters_.begin(); at != waiters_.end();) {
      const std::uint64_t place = at->first;
      release(at);
      at = waiters_.upper_bound(place);
    }
    return;
  }
  if (waiters_.empty()) {
    pause_ = kFirstPause;
    return;
  }
  pause_ = std::min(pause_ * 2, kLongestPause);
  try_.armAfter(pause_);
  release(waiters_.begin());
}

void AwayServer::release(std::map<std::uint64_t, Waiter*>::iterator waiter) {
  waiters_.extract(waiter).mapped()->onTryAgain();
}

void AwayServer::onConnected() {
  pause_ = kFirstPause;
  if (!waiters_.empty() && state_ == State::kAway) {
    state_ = State::kBack;
    try_.armAfter(Duration::zero());
  }
}

}  // namespace penstock::sidecar
