#include "net/timer_queue.h"

#include <algorithm>

namespace penstock::net {

void TimerQueue::update(Timer& timer, TimePoint now) {
  timer.armed_in_pass_ = pass_;
  // Not before now: a timer that keeps arming itself for the past does not overtake the others.
  const TimePoint look_at = std::max(timer.due_, now);
  if (timer.index_ == kNowhere) {
    heap_.push_back({});
    place(heap_.size() - 1, {look_at, &timer});
    siftUp(timer.index_);
  } else if (look_at < heap_[timer.index_].look_at) {
    heap_[timer.index_].look_at = look_at;
    siftUp(timer.index_);
  }
}

void TimerQueue::remove(Timer& timer) {
  const std::size_t index = timer.index_;
  if (index == kNowhere) {
    return;
  }
  timer.index_ = kNowhere;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index < heap_.size()) {
    place(index, last);
    siftUp(index);
    siftDown(last.timer->index_);
  }
}

Timer* TimerQueue::takeDue(TimePoint now) {
  while (!heap_.empty() && heap_.front().look_at <= now) {
    Entry& first = heap_.front();
    Timer& timer = *first.timer;
    if (!timer.armed()) {
      remove(timer);
    } else if (timer.due_ > now) {
      first.look_at = timer.due_;
      siftDown(0);
    } else if (timer.armed_in_pass_ == pass_) {
      return nullptr;
    } else {
      remove(timer);
      timer.disarm();
      return &timer;
    }
  }
  return nullptr;
}

void TimerQueue::place(std::size_t index, Entry entry) {
  heap_[index] = entry;
  entry.timer->index_ = index;
}

void TimerQueue::siftUp(std::size_t index) {
  const Entry entry = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent].look_at <= entry.look_at) {
      break;
    }
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerQueue::siftDown(std::size_t index) {
  const Entry entry = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) {
      break;
    }
    if (child + 1 < heap_.size() && heap_[child + 1].look_at < heap_[child].look_at) {
      ++child;
    }
    if (entry.look_at <= heap_[child].look_at) {
      break;
    }
    place(index, heap_[child]);
    index = child;
  }
  place(index, entry);
}

}  // namespace penstock::net
