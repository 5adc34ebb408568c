#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "model_runtime/intrusive_list.h"

namespace penstock::runtime {

// Runs jobs in arrival order on up to max_threads threads, each started when a job finds nobody
// idle. A thread that finishes takes the next job itself; somebody is woken only if somebody
// sleeps. Thread-safe. The destructor, like stop(), runs what is queued and joins; do not add()
// after it.
class WorkerPool {
 public:
  // What can be queued; outlives its time in the queue. In one pool at a time.
  class Job : private ListLink {
   protected:
    ~Job() = default;

   private:
    friend class WorkerPool;
    friend class IntrusiveList<Job>;
    std::atomic<WorkerPool*> queued_in_{nullptr};  // changed under that pool's lock
  };

  // name: of the threads (at most 12 characters). max_threads: at least 1.
  WorkerPool(std::string name, std::size_t max_threads, std::function<void(Job&)> run);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Unbounded: who adds bounds.
  void add(Job& job);
  // Takes the job out of the queue, in O(1). False if it is not in it: then it runs, or has run.
  bool remove(Job& job);
  void stop();

  std::size_t queued() const;
  std::size_t threads() const;

 private:
  void addThread();
  void work();

  const std::string name_;
  const std::size_t max_threads_;
  const std::function<void(Job&)> run_;

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable work_added_;
  IntrusiveList<Job> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  std::size_t woken_ = 0;  // of the idle, those notified and not yet up
  bool stopping_ = false;
};

}  // namespace penstock::runtime
