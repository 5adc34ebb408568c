#include "model_runtime/worker_pool.h"

#include <latch>
#include <memory>
#include <semaphore>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::runtime {
namespace {

struct NumberedJob final : WorkerPool::Job {
  explicit NumberedJob(int the_number) : number(the_number) {}
  int number;
};

int numberOf(WorkerPool::Job& job) {
  return static_cast<NumberedJob&>(job).number;
}

TEST(WorkerPool, RunsJobsInOrder) {
  std::vector<int> order;
  std::latch done(3);
  WorkerPool pool("test", 1, [&](WorkerPool::Job& job) {
    order.push_back(numberOf(job));
    done.count_down();
  });
  NumberedJob a(1), b(2), c(3);
  pool.add(a);
  pool.add(b);
  pool.add(c);
  done.wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(WorkerPool, StartsThreadsOnlyAsTheyAreNeeded) {
  std::latch both_run(2);
  WorkerPool pool("test", 3, [&](WorkerPool::Job& job) {
    if (numberOf(job) < 2) {
      both_run.arrive_and_wait();  // stands until two run at once
    }
  });
  EXPECT_EQ(pool.threads(), 0u);
  NumberedJob a(0), b(1);
  pool.add(a);
  EXPECT_EQ(pool.threads(), 1u);
  pool.add(b);
  both_run.wait();
  EXPECT_EQ(pool.threads(), 2u);
}

TEST(WorkerPool, GivesBackAJobThatHasNotBegun) {
  std::binary_semaphore begun(0), go_on(0);
  int ran = 0;
  NumberedJob first(1), second(2);
  {
    WorkerPool pool("test", 1, [&](WorkerPool::Job&) {
      ++ran;
      begun.release();
      go_on.acquire();
    });
    pool.add(first);
    begun.acquire();
    pool.add(second);
    EXPECT_EQ(pool.queued(), 1u);
    EXPECT_TRUE(pool.remove(second));
    EXPECT_FALSE(pool.remove(second));
    EXPECT_FALSE(pool.remove(first)) << "it runs";
    EXPECT_EQ(pool.queued(), 0u);
    go_on.release();
  }
  EXPECT_EQ(ran, 1);
}

TEST(WorkerPool, StopsAfterWhatIsQueued) {
  int ran = 0;
  std::vector<std::unique_ptr<NumberedJob>> jobs;
  {
    WorkerPool pool("test", 1, [&](WorkerPool::Job&) { ++ran; });
    for (int i = 0; i < 100; ++i) {
      jobs.push_back(std::make_unique<NumberedJob>(i));
      pool.add(*jobs.back());
    }
  }
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace penstock::runtime
