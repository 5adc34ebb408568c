#include "model_runtime/deadline_timer.h"

#include "model_runtime/thread_name.h"

namespace penstock::runtime {

DeadlineTimer::DeadlineTimer() : thread_([this] { work(); }) {}

DeadlineTimer::~DeadlineTimer() {
  stop();
}

void DeadlineTimer::set(const std::shared_ptr<Entry>& entry, Deadline when) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    erase(entry);
    if (when.isNever() || stopping_) {
      return;
    }
    entry->due_ = when.when();
    const auto at = entries_.emplace(entry->due_, entry).first;
    wake = at == entries_.begin();
  }
  if (wake) {
    earlier_.notify_one();
  }
}

void DeadlineTimer::clear(const std::shared_ptr<Entry>& entry) {
  std::lock_guard lock(mutex_);
  erase(entry);
}

void DeadlineTimer::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    entries_.clear();
  }
  earlier_.notify_one();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void DeadlineTimer::erase(const std::shared_ptr<Entry>& entry) {
  if (entry->due_ != TimePoint::max()) {
    entries_.erase({entry->due_, entry});
    entry->due_ = TimePoint::max();
  }
}

void DeadlineTimer::work() {
  nameThisThread("deadlines");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (entries_.empty()) {
      earlier_.wait(lock);
      continue;
    }
    const TimePoint next = entries_.begin()->first;
    if (std::chrono::steady_clock::now() < next) {
      earlier_.wait_until(lock, next);
      continue;
    }
    const std::shared_ptr<Entry> due = entries_.begin()->second;
    erase(due);
    lock.unlock();
    due->onDue();
    lock.lock();
  }
}

}  // namespace penstock::runtime
