#include <utility>

#include "net/event_loop.h"
#include "net/event_loop_state.h"

namespace penstock::net {

Timer::Timer(EventLoop& loop, std::move_only_function<void()> callback)
    : loop_(loop), callback_(std::move(callback)) {}

Timer::~Timer() {
  loop_.state_->timers.remove(*this);
  loop_.state_->forget(this);
}

void Timer::arm(TimePoint due) {
  due_ = due;
  if (armed()) {
    loop_.state_->timers.update(*this, loop_.now());
  }
}

void Timer::armAfter(Duration delay) {
  const TimePoint now = loop_.now();
  arm(delay < TimePoint::max() - now ? now + delay : TimePoint::max());
}

}  // namespace penstock::net
