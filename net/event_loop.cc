#include "net/event_loop.h"

#include <utility>

#include <event2/event.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "net/event_loop_state.h"

namespace penstock::net {

namespace {

// The loop whose run() this thread is in.
thread_local const EventLoop* running_loop = nullptr;

event_base* makeBase() {
  event_config* config = event_config_new();
  PENSTOCK_CHECK(config != nullptr, "libevent has memory for a configuration");
  // Timers are our own, so libevent needs no time; one thread uses the base, so it needs no lock.
  event_config_set_flag(
      config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NO_CACHE_TIME);
  event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_O1);
  event_base* base = event_base_new_with_config(config);
  event_config_free(config);
  PENSTOCK_CHECK(base != nullptr, "epoll is available");
  return base;
}

// Edge-triggered: each write or expiry is reported once, without a read to reset it.
event* addEdge(event_base* base, int fd, event_callback_fn callback, void* argument) {
  event* added = event_new(base, fd, EV_READ | EV_ET | EV_PERSIST, callback, argument);
  PENSTOCK_CHECK(added != nullptr && event_add(added, nullptr) == 0,
                 "the loop can watch its own descriptors");
  return added;
}

}  // namespace

EventLoop::State::State(const Clock& the_clock)
    : clock(the_clock),
      base(makeBase()),
      alarm_fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      wake_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  PENSTOCK_CHECK(alarm_fd.valid() && wake_fd.valid(), "there are descriptors for an event loop");
  deferred.next = deferred.previous = &deferred;
  const auto on_alarm = [](int, short, void* self) noexcept {
    static_cast<State*>(self)->alarm = TimePoint::max();
  };
  const auto on_wake = [](int, short, void*) noexcept {};
  alarm_event = addEdge(base, alarm_fd.get(), on_alarm, this);
  wake_event = addEdge(base, wake_fd.get(), on_wake, this);
}

EventLoop::State::~State() {
  event_free(alarm_event);
  event_free(wake_event);
  event_base_free(base);
}

void EventLoop::State::dropWork() {
  // What is destroyed here may post or collect again.
  while (!own_tasks.empty() || !inbox.empty() || !garbage.empty()) {
    std::exchange(own_tasks, {}).clear();
    std::exchange(inbox, {}).clear();
    freeGarbage();
  }
}

void EventLoop::State::beginCallbacks() {
  if (!now_known) {
    now = clock.now();
    now_known = true;
  }
}

void EventLoop::State::turn() noexcept {
  const bool may_sleep = prepareToSleep();
  now_known = false;
  event_base_loop(base, may_sleep ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
  beginCallbacks();
  runTimers();
  runTasks();
  runDeferred();
  freeGarbage();
}

bool EventLoop::State::prepareToSleep() {
  if (!own_tasks.empty() || deferred.next != &deferred || !setAlarm()) {
    return false;
  }
  const std::lock_guard lock(mutex);
  asleep = inbox.empty() && !stop_requested;
  return asleep;
}

bool EventLoop::State::setAlarm() {
  const TimePoint next = timers.nextLook();
  if (next >= alarm) {
    // It is set early enough; when it goes off for nothing, it is set anew.
    return true;
  }
  const Duration delay = next - clock.now();
  if (delay <= Duration::zero()) {
    return false;
  }
  const auto seconds = std::chrono::floor<std::chrono::seconds>(delay);
  itimerspec setting{};
  setting.it_value.tv_sec = seconds.count();
  setting.it_value.tv_nsec = (delay - seconds).count();
  PENSTOCK_CHECK(timerfd_settime(alarm_fd.get(), 0, &setting, nullptr) == 0,
                 "a positive delay is a valid alarm");
  alarm = next;
  return true;
}

void EventLoop::State::runTimers() {
  timers.beginPass();
  while (Timer* timer = timers.takeDue(now)) {
    call(timer, timer->callback_);
  }
}

void EventLoop::State::runTasks() {
  {
    const std::lock_guard lock(mutex);
    asleep = false;
    stopping = std::exchange(stop_requested, false) || stopping;
    foreign_tasks.swap(inbox);
  }
  running_tasks.swap(own_tasks);
  for (std::vector<Task>* tasks : {&foreign_tasks, &running_tasks}) {
    for (Task& task : *tasks) {
      task();
      // What the task holds ends with it, not with the whole batch.
      task = nullptr;
    }
    tasks->clear();
  }
}

void EventLoop::State::runDeferred() {
  if (deferred.next == &deferred) {
    return;
  }
  DeferredLink batch = deferred;
  batch.next->previous = &batch;
  batch.previous->next = &batch;
  deferred.next = deferred.previous = &deferred;
  while (batch.next != &batch) {
    auto* work = static_cast<Deferred*>(batch.next);
    unlink(*work);
    call(work, work->callback_);
  }
}

void EventLoop::State::freeGarbage() {
  // Destroying an object may collect others.
  while (!garbage.empty()) {
    garbage.swap(freed);
    freed.clear();
  }
}

void EventLoop::State::wake() {
  const std::uint64_t one = 1;
  // Fails only if the counter is full, and then the loop has been woken.
  [[maybe_unused]] const ssize_t written = write(wake_fd.get(), &one, sizeof one);
}

EventLoop::EventLoop(const Clock& clock) : state_(std::make_unique<State>(clock)) {}

EventLoop::~EventLoop() {
  PENSTOCK_CHECK(!inLoopThread(), "a loop is not destroyed from inside itself");
  state_->dropWork();
}

void EventLoop::run() {
  PENSTOCK_CHECK(running_loop == nullptr, "one thread runs one loop at a time");
  running_loop = this;
  state_->stopping = false;
  while (!state_->stopping) {
    state_->turn();
  }
  state_->now_known = false;
  running_loop = nullptr;
}

void EventLoop::stop() {
  if (inLoopThread()) {
    state_->stopping = true;
    return;
  }
  bool must_wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop_requested = true;
    must_wake = std::exchange(state_->asleep, false);
  }
  if (must_wake) {
    state_->wake();
  }
}

void EventLoop::post(Task task) {
  if (inLoopThread()) {
    state_->own_tasks.push_back(std::move(task));
    return;
  }
  bool must_wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    state_->inbox.push_back(std::move(task));
    must_wake = std::exchange(state_->asleep, false);
  }
  if (must_wake) {
    state_->wake();
  }
}

bool EventLoop::inLoopThread() const {
  return running_loop == this;
}

TimePoint EventLoop::now() const {
  return state_->now_known ? state_->now : state_->clock.now();
}

const Clock& EventLoop::clock() const {
  return state_->clock;
}

void EventLoop::collect(Garbage garbage) {
  state_->garbage.push_back(std::move(garbage));
}

}  // namespace penstock::net
