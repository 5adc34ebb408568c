// A request that its replica did not run goes back to where it stood.

#include <utility>

#include "tests/proxy/cluster/admission_queue_fixture.h"

namespace penstock::proxy {
namespace {

class QueueWithRetries : public AdmissionQueueTest {
 protected:
  QueueWithRetries()
      : AdmissionQueueTest({.concurrency_target = 1,
                            .max_requests = 3,
                            .max_bytes = 100,
                            .retry_budget_percent = 50,
                            .min_retries = 1}) {}

  std::optional<Refusal> putBack(Caller& caller, bool back_off = false,
                                 const AdmissionQueue::Demand& demand = {}) {
    return queue.putBack(std::move(caller.slot), caller.ticket, demand, back_off);
  }
};

TEST_F(QueueWithRetries, ARequestPutBackKeepsItsOriginalPlace) {
  Replica& replica = readyReplica();
  const auto callers = arrive(3);
  const std::uint64_t place = callers[0]->ticket.place();
  queue.setAvailable(replica.id, false);
  EXPECT_EQ(putBack(*callers[0]), std::nullopt);
  EXPECT_EQ(callers[0]->ticket.place(), place);
  EXPECT_EQ(now().head_place, place);
  EXPECT_EQ(now().waiting, 3u);
  queue.setAvailable(replica.id, true);
  collect();
  EXPECT_TRUE(callers[0]->hasSlot());
  EXPECT_FALSE(callers[1]->hasSlot());
}

TEST_F(QueueWithRetries, PlacesAreKeptAmongSeveralThatArePutBack) {
  queue.setTarget(3);
  Replica& replica = readyReplica();
  auto callers = arrive(3);
  queue.setAvailable(replica.id, false);
  // The budget is one at this load; a later one leaves first.
  ASSERT_EQ(putBack(*callers[1]), std::nullopt);
  queue.setTarget(1);
  const auto newcomer = arrive();
  callers[0]->slot.release();
  callers[2]->slot.release();
  queue.setAvailable(replica.id, true);
  collect();
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_FALSE(newcomer->hasSlot());
}

TEST_F(QueueWithRetries, PrefersAnotherReplicaThanTheOneThatRefused) {
  queue.setTarget(2);
  Replica& refusing = readyReplica();
  const auto caller = arrive();
  Replica& other = readyReplica();
  const auto busy = arrive();
  ASSERT_EQ(&busy->slot.replica(), &other);
  // Once the slot is back, the refusing one is the less loaded of the two.
  ASSERT_EQ(putBack(*caller), std::nullopt);
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &other);
  EXPECT_NE(&caller->slot.replica(), &refusing);
}

TEST_F(QueueWithRetries, TakesTheRefusingReplicaIfNoOtherHasASlot) {
  Replica& only = readyReplica();
  const auto caller = arrive();
  ASSERT_EQ(putBack(*caller), std::nullopt);
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &only);
}

TEST_F(QueueWithRetries, PassesOverWhoBacksOffUntilItIsActive) {
  readyReplica();
  const auto caller = arrive();
  const auto next = arrive();
  ASSERT_EQ(putBack(*caller, true), std::nullopt);
  EXPECT_EQ(now().backing_off, 1u);
  EXPECT_EQ(now().waiting, 1u);
  collect();
  EXPECT_TRUE(next->hasSlot());
  next->slot.release();
  collect();
  EXPECT_FALSE(caller->hasSlot()) << "a free slot is no reason to end a back-off";
  caller->ticket.activate();
  collect();
  EXPECT_TRUE(caller->hasSlot());
  EXPECT_EQ(now().backing_off, 0u);
}

TEST_F(QueueWithRetries, AnActivatedRequestStandsWhereItStood) {
  Replica& replica = readyReplica();
  const auto caller = arrive();
  const auto next = arrive();
  queue.setAvailable(replica.id, false);
  ASSERT_EQ(putBack(*caller, true), std::nullopt);
  caller->ticket.activate();
  caller->ticket.activate();
  queue.setAvailable(replica.id, true);
  collect();
  EXPECT_TRUE(caller->hasSlot());
  EXPECT_FALSE(next->hasSlot());
}

TEST_F(QueueWithRetries, MayLeaveWhileItBacksOff) {
  readyReplica();
  auto caller = arrive();
  ASSERT_EQ(putBack(*caller, true), std::nullopt);
  caller.reset();
  EXPECT_EQ(now().backing_off, 0u);
  EXPECT_EQ(now().waiting, 0u);
  EXPECT_EQ(now().accepted, now().done);
}

TEST_F(QueueWithRetries, IsNotRefusedForTheBounds) {
  readyReplica();
  const auto running = arrive();
  const auto waiting = arrive(3);
  ASSERT_EQ(arrive()->refusal, Refusal::kQueueFull);
  EXPECT_EQ(putBack(*running, true, {.bytes = 5000}), std::nullopt);
  EXPECT_EQ(now().waiting_bytes, 5000u);
  running->ticket.leave();
  collect();
}

TEST_F(QueueWithRetries, RefusesOnePastTheBudget) {
  // Half of what is in flight: of eight (the one put back not counted), four. Each gets its slot
  // again.
  queue.setTarget(9);
  readyReplica();
  const auto callers = arrive(9);
  std::size_t granted = 0;
  for (const auto& caller : callers) {
    granted += caller->hasSlot() ? 1 : 0;
  }
  ASSERT_EQ(granted, 9u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(putBack(*callers[i]), std::nullopt) << i;
  }
  EXPECT_EQ(putBack(*callers[4]), Refusal::kRetryBudget);
  EXPECT_FALSE(callers[4]->ticket.waits());
  EXPECT_EQ(now().accepted, now().waiting + now().in_flight + now().done);
}

TEST_F(QueueWithRetries, WhatCouldNotBeSentIsNotBudgeted) {
  queue.setTarget(9);
  readyReplica();
  const auto callers = arrive(9);
  for (const auto& caller : callers) {
    ASSERT_EQ(putBack(*caller, true), std::nullopt);
  }
  EXPECT_EQ(now().waiting, 9u);
  callers.front()->ticket.leave();
  callers.back()->ticket.activate();
  collect();
  EXPECT_TRUE(callers.back()->hasSlot());
  EXPECT_EQ(putBack(*callers.back()), std::nullopt) << "nothing counts as a retry so far";
  collect();
}

TEST_F(QueueWithRetries, AlwaysAllowsSoManyRetries) {
  readyReplica();
  const auto caller = arrive();
  EXPECT_EQ(putBack(*caller), std::nullopt) << "nothing else is in flight, one is allowed";
}

TEST_F(QueueWithRetries, ARetryCountsUntilItHasEnded) {
  queue.setTarget(2);
  readyReplica();
  const auto first = arrive();
  const auto second = arrive();
  ASSERT_EQ(putBack(*first), std::nullopt);
  collect();
  ASSERT_TRUE(first->hasSlot());
  EXPECT_EQ(putBack(*second), Refusal::kRetryBudget) << "the first retry still runs";
  const auto third = arrive();
  first->slot.release();
  EXPECT_EQ(putBack(*third), std::nullopt);
  collect();
}

TEST_F(QueueWithRetries, ARequestMayBePutBackAgain) {
  readyReplica();
  const auto caller = arrive();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(putBack(*caller), std::nullopt) << i;
    collect();
    ASSERT_TRUE(caller->hasSlot());
  }
  caller->slot.release();
  EXPECT_EQ(now().done, 1u);
}

TEST_F(QueueWithRetries, IsServedWhileTheQueueDrains) {
  readyReplica();
  const auto caller = arrive();
  queue.drain();
  EXPECT_EQ(putBack(*caller), std::nullopt);
  collect();
  EXPECT_TRUE(caller->hasSlot());
}

TEST_F(QueueWithRetries, TheFreedSlotGoesToTheNextWhenAPutBackIsRefused) {
  queue.setTarget(2);
  readyReplica();
  const auto first = arrive();
  const auto second = arrive();
  const auto waiter = arrive();
  ASSERT_EQ(putBack(*first), std::nullopt);
  collect();
  ASSERT_TRUE(first->hasSlot());
  ASSERT_EQ(putBack(*second), Refusal::kRetryBudget);
  collect();
  EXPECT_TRUE(waiter->hasSlot());
}

}  // namespace
}  // namespace penstock::proxy
