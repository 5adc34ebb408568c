// What the queue tells about itself: integrals, waits, the drain rate.

#include "tests/proxy/cluster/admission_queue_fixture.h"

namespace penstock::proxy {
namespace {

class QueueFigures : public AdmissionQueueTest {
 protected:
  QueueFigures() : AdmissionQueueTest({.concurrency_target = 1, .max_requests = 10'000}) {}
};

TEST_F(QueueFigures, IntegratesExactly) {
  readyReplica();
  clock.advance(5s);  // nobody is there
  const auto callers = arrive(3);
  clock.advance(4s);  // one runs, two wait
  callers[0]->slot.release();
  clock.advance(500ms);  // one is granted and not told, one waits
  EXPECT_DOUBLE_EQ(now().idle_while_waiting_seconds, 0.5);
  collect();
  clock.advance(2s);  // one runs, one waits
  EXPECT_DOUBLE_EQ(now().in_flight_seconds, 4 + 0.5 + 2);
  EXPECT_DOUBLE_EQ(now().waiting_seconds, 8 + 0.5 + 2);
  EXPECT_DOUBLE_EQ(now().idle_while_waiting_seconds, 0.5);
}

TEST_F(QueueFigures, CountsArrivalsRefusedOnesIncluded) {
  queue.drain();
  arrive();
  arrive();
  EXPECT_EQ(now().arrivals, 2u);
  EXPECT_EQ(now().accepted, 0u);
}

TEST_F(QueueFigures, TellsHowLongTheOldestHasWaited) {
  EXPECT_EQ(now().oldest_wait, 0s);
  auto first = arrive();
  clock.advance(3s);
  const auto second = arrive();
  EXPECT_EQ(now().oldest_wait, 3s);
  EXPECT_EQ(now().head_place, first->ticket.place());
  first.reset();
  clock.advance(1s);
  EXPECT_EQ(now().oldest_wait, 1s);
}

TEST_F(QueueFigures, EstimatesASecondWhenNobodyWaits) {
  EXPECT_EQ(queue.estimatedWait(), 1s);
  readyReplica();
  const auto running = arrive();
  clock.advance(1h);
  EXPECT_EQ(queue.estimatedWait(), 1s);
}

TEST_F(QueueFigures, EstimatesTheWaitFromTheDrainRate) {
  readyReplica();
  auto callers = arrive(31);
  for (std::size_t i = 0; i < 20; ++i) {
    clock.advance(2s);
    callers[i]->slot.release();
    collect();
  }
  // Ten wait, a slot is freed every two seconds.
  ASSERT_EQ(now().waiting, 10u);
  EXPECT_EQ(queue.estimatedWait(), 20s);
}

TEST_F(QueueFigures, ForgetsARateOfLongAgo) {
  readyReplica();
  auto callers = arrive(100);
  auto serve = [&, next = std::size_t{0}](std::size_t count, Duration each) mutable {
    for (std::size_t end = next + count; next < end; ++next) {
      clock.advance(each);
      callers[next]->slot.release();
      collect();
    }
  };
  serve(20, 10s);
  EXPECT_EQ(queue.estimatedWait(), 790s);
  serve(64, 1s);
  ASSERT_EQ(now().waiting, 15u);
  EXPECT_EQ(queue.estimatedWait(), 15s);
}

TEST_F(QueueFigures, TimeWithoutAQueueDoesNotSlowTheEstimate) {
  readyReplica();
  auto callers = arrive(6);
  for (std::size_t i = 0; i < 5; ++i) {
    clock.advance(2s);
    callers[i]->slot.release();
    collect();
  }
  callers[5]->slot.release();
  clock.advance(10h);
  const auto later = arrive(6);
  EXPECT_EQ(queue.estimatedWait(), 10s);
}

TEST_F(QueueFigures, EstimatesAtLeastAsLongAsItHasBeenStuck) {
  const auto waiting = arrive(3);
  EXPECT_EQ(queue.estimatedWait(), 1s);
  clock.advance(40s);
  EXPECT_EQ(queue.estimatedWait(), 40s);
  clock.advance(10h);
  EXPECT_EQ(queue.estimatedWait(), 1h) << "at most an hour";
}

}  // namespace
}  // namespace penstock::proxy
