#include <utility>

#include "net/event_loop.h"
#include "net/event_loop_state.h"

namespace penstock::net {

Deferred::Deferred(EventLoop& loop, std::move_only_function<void()> callback)
    : loop_(loop), callback_(std::move(callback)) {}

Deferred::~Deferred() {
  cancel();
  loop_.state_->forget(this);
}

void Deferred::schedule() {
  if (!isLinked(*this)) {
    linkLast(loop_.state_->deferred, *this);
  }
}

void Deferred::cancel() {
  if (isLinked(*this)) {
    unlink(*this);
  }
}

}  // namespace penstock::net
