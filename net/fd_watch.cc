#include <utility>

#include <event2/event.h>

#include "base/check.h"
#include "net/event_loop.h"
#include "net/event_loop_state.h"

namespace penstock::net {

FdWatch::FdWatch(EventLoop& loop, int fd, std::move_only_function<void(Ready)> callback)
    : loop_(loop), callback_(std::move(callback)), fd_(fd) {}

FdWatch::~FdWatch() {
  for (event* watched : {read_, write_}) {
    if (watched != nullptr) {
      event_free(watched);
    }
  }
  loop_.state_->forget(this);
}

void FdWatch::set(bool read, bool write) {
  if (read != std::exchange(reading_, read)) {
    watch(read_, EV_READ, read);
  }
  if (write != std::exchange(writing_, write)) {
    watch(write_, EV_WRITE, write);
  }
}

void FdWatch::watch(event*& slot, short what, bool on) {
  if (slot == nullptr) {
    slot = event_new(loop_.state_->base, fd_, static_cast<short>(what | EV_PERSIST), onEvent, this);
    PENSTOCK_CHECK(slot != nullptr, "libevent has memory for an event");
  }
  const int result = on ? event_add(slot, nullptr) : event_del(slot);
  PENSTOCK_CHECK(result == 0, "an open descriptor that epoll supports can be watched");
}

void FdWatch::onEvent(int, short what, void* self) noexcept {
  auto& watch = *static_cast<FdWatch*>(self);
  EventLoop::State& loop = *watch.loop_.state_;
  loop.beginCallbacks();
  loop.call(&watch, watch.callback_,
            Ready{.readable = (what & EV_READ) != 0, .writable = (what & EV_WRITE) != 0});
}

}  // namespace penstock::net
