#include <utility>

#include <event2/event.h>

#include "base/check.h"
#include "net/event_loop.h"
#include "net/event_loop_state.h"

namespace penstock::net {

SignalWatch::SignalWatch(EventLoop& loop, int signal, std::move_only_function<void()> callback)
    : loop_(loop), callback_(std::move(callback)) {
  event_ = evsignal_new(loop_.state_->base, signal, onEvent, this);
  PENSTOCK_CHECK(event_ != nullptr && event_add(event_, nullptr) == 0, "the signal can be caught");
}

SignalWatch::~SignalWatch() {
  event_free(event_);
  loop_.state_->forget(this);
}

void SignalWatch::onEvent(int, short, void* self) noexcept {
  auto& watch = *static_cast<SignalWatch*>(self);
  EventLoop::State& loop = *watch.loop_.state_;
  loop.beginCallbacks();
  loop.call(&watch, watch.callback_);
}

}  // namespace penstock::net
