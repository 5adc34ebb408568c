#include "model_runtime/worker_pool.h"

#include <system_error>
#include <utility>

#include "base/check.h"
#include "model_runtime/thread_name.h"

namespace penstock::runtime {

WorkerPool::WorkerPool(std::string name, std::size_t max_threads, std::function<void(Job&)> run)
    : name_(std::move(name)), max_threads_(max_threads), run_(std::move(run)) {
  PENSTOCK_CHECK(max_threads_ >= 1, "a pool has at least one thread");
}

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::add(Job& job) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    PENSTOCK_CHECK(!stopping_, "no job is added to a pool that stops");
    PENSTOCK_CHECK(job.queued_in_.load(std::memory_order_relaxed) == nullptr, "queued once");
    job.queued_in_.store(this, std::memory_order_relaxed);
    jobs_.pushBack(job);
    if (idle_ > woken_) {
      ++woken_;
      wake = true;
    } else if (threads_.size() < max_threads_) {
      addThread();
    }
  }
  if (wake) {
    work_added_.notify_one();
  }
}

bool WorkerPool::remove(Job& job) {
  if (job.queued_in_.load(std::memory_order_relaxed) != this) {
    return false;
  }
  std::lock_guard lock(mutex_);
  if (job.queued_in_.load(std::memory_order_relaxed) != this) {
    return false;
  }
  job.queued_in_.store(nullptr, std::memory_order_relaxed);
  jobs_.remove(job);
  return true;
}

void WorkerPool::stop() {
  std::vector<std::thread> threads;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  work_added_.notify_all();
  for (std::thread& thread : threads) {
    thread.join();
  }
}

std::size_t WorkerPool::queued() const {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

std::size_t WorkerPool::threads() const {
  std::lock_guard lock(mutex_);
  return threads_.size();
}

// The system may have no thread left to give; those that are there then do the work.
void WorkerPool::addThread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    PENSTOCK_CHECK(!threads_.empty(), "a pool can start at least one thread");
  }
}

void WorkerPool::work() {
  nameThisThread(name_);
  yieldToLanes();
  std::unique_lock lock(mutex_);
  while (true) {
    while (Job* job = jobs_.popFront()) {
      job->queued_in_.store(nullptr, std::memory_order_relaxed);
      lock.unlock();
      run_(*job);
      lock.lock();
    }
    if (stopping_) {
      return;
    }
    ++idle_;
    work_added_.wait(lock, [this] { return woken_ > 0 || stopping_; });
    if (woken_ > 0) {
      --woken_;
    }
    --idle_;
  }
}

}  // namespace penstock::runtime
