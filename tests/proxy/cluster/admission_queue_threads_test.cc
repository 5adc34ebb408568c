// Four workers, each with its inbox, share one queue: nobody is forgotten, no slot is given twice.

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {
namespace {

constexpr std::size_t kWorkers = 4;
constexpr int kRequestsPerWorker = 3000;
constexpr std::size_t kAtATime = 30;
constexpr std::uint32_t kTarget = 3;

// What a replica would count for itself.
struct Counted {
  void enter() {
    const int now = running.fetch_add(1) + 1;
    int seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
  }
  void leave() { running.fetch_sub(1); }
  std::atomic<int> running{0};
  std::atomic<int> most{0};
};

class Worker {
 public:
  Worker(AdmissionQueue& queue, std::map<ReplicaId, Counted>& replicas, unsigned seed)
      : queue_(queue), replicas_(replicas), random_(seed), inbox_(queue, [this] { wake(); }) {}

  void run() {
    while (started_ < kRequestsPerWorker || !requests_.empty()) {
      if (started_ < kRequestsPerWorker && requests_.size() < kAtATime) {
        start();
      }
      act();
      while (inbox_.collect(8)) {
      }
      std::erase_if(requests_, [](const auto& request) { return request->over; });
    }
  }
  int served() const { return served_; }
  int refused() const { return refused_; }
  int left() const { return left_; }

 private:
  struct Request final : Ticket::Owner {
    Request(Worker& to) : worker(to), ticket(to.inbox_, *this) {}
    ~Request() override { stopRunning(); }
    void onGranted(Slot granted) override { worker.run(*this, std::move(granted)); }
    void onExpired() override { over = true; }
    void stopRunning() {
      if (slot.valid()) {
        worker.replicas_.at(slot.replica().id).leave();
        slot.release();
      }
    }
    Worker& worker;
    Slot slot;
    bool over = false;
    Ticket ticket;
  };

  void start() {
    ++started_;
    auto request = std::make_unique<Request>(*this);
    Admission admission = queue_.acquire(request->ticket, {.bytes = 10});
    if (auto* slot = std::get_if<Slot>(&admission)) {
      run(*request, std::move(*slot));
    } else if (std::holds_alternative<Refusal>(admission)) {
      ++refused_;
      return;
    }
    requests_.push_back(std::move(request));
  }
  void run(Request& request, Slot slot) {
    replicas_.at(slot.replica().id).enter();
    request.slot = std::move(slot);
  }
  // One of the requests goes on; if all wait, sleeps until something is granted.
  void act() {
    Request* running = nullptr;
    for (const auto& request : requests_) {
      running = request->slot.valid() ? request.get() : running;
    }
    const bool leaves = random_() % 10 == 0;
    if (leaves && !requests_.empty()) {
      Request& request = *requests_[random_() % requests_.size()];
      left_ += request.slot.valid() ? 0 : 1;
      served_ += request.slot.valid() ? 1 : 0;
      request.over = true;
      return;
    }
    if (requests_.empty()) {
      // Everything was refused: the queue is full of others' requests.
      std::this_thread::yield();
    } else if (running == nullptr) {
      sleep();
    } else if (random_() % 8 == 0) {
      putBack(*running);
    } else {
      running->stopRunning();
      running->over = true;
      ++served_;
    }
  }
  void putBack(Request& request) {
    replicas_.at(request.slot.replica().id).leave();
    const ReplicaId id = request.slot.replica().id;
    const bool refused = random_() % 2 == 0;
    if (refused) {
      request.slot.refused();
    }
    if (!queue_.putBack(std::move(request.slot), request.ticket, {.bytes = 10},
                        refused ? RetryCause::kRefused : RetryCause::kFailed)) {
      request.over = true;
      ++served_;
    }
    if (refused) {
      queue_.offerOne(id);
      queue_.reopen(id);
    }
  }
  void wake() {
    std::lock_guard lock(mutex_);
    woken_ = true;
    condition_.notify_one();
  }
  void sleep() {
    std::unique_lock lock(mutex_);
    // Without a lost wake-up this ends by itself; with one the test fails instead of hanging.
    EXPECT_TRUE(condition_.wait_for(lock, std::chrono::seconds(60), [this] { return woken_; }));
    woken_ = false;
  }

  AdmissionQueue& queue_;
  std::map<ReplicaId, Counted>& replicas_;
  std::mt19937 random_;
  std::mutex mutex_;
  std::condition_variable condition_;
  bool woken_ = false;
  Inbox inbox_;
  int started_ = 0;
  int served_ = 0;
  int refused_ = 0;
  int left_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;
};

TEST(AdmissionQueueThreads, NobodyIsForgottenAndNoReplicaGetsMoreThanTheTarget) {
  const SteadyClock clock;
  AdmissionQueue queue(clock, {.concurrency_target = kTarget, .max_requests = 100});
  std::map<ReplicaId, Counted> replicas;
  for (std::uint16_t port = 1; port <= 2; ++port) {
    const Replica& replica = queue.addReplica(net::Address::loopback(port));
    replicas[replica.id];
    queue.setAvailable(replica.id, true);
  }
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned i = 0; i < kWorkers; ++i) {
    workers.push_back(std::make_unique<Worker>(queue, replicas, 1000 + i));
  }
  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    threads.emplace_back([&worker = *worker] { worker.run(); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }

  int ended = 0;
  for (const auto& worker : workers) {
    ended += worker->served() + worker->refused() + worker->left();
    EXPECT_GT(worker->served(), 0);
  }
  EXPECT_EQ(ended, static_cast<int>(kWorkers) * kRequestsPerWorker);
  for (const auto& [id, counted] : replicas) {
    EXPECT_EQ(counted.running, 0);
    EXPECT_LE(counted.most, static_cast<int>(kTarget));
    EXPECT_EQ(counted.most, static_cast<int>(kTarget)) << "the test does not press enough";
  }
  const AdmissionQueue::Snapshot end = queue.snapshot();
  EXPECT_EQ(end.waiting, 0u);
  EXPECT_EQ(end.in_flight, 0u);
  EXPECT_EQ(end.accepted, end.done);
  EXPECT_EQ(end.arrivals, kWorkers * static_cast<std::size_t>(kRequestsPerWorker));
  EXPECT_EQ(end.free_slots, 2u * kTarget);
  EXPECT_EQ(end.waiting_bytes, 0u);
}

}  // namespace
}  // namespace penstock::proxy
