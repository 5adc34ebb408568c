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

  bool putBack(Caller& caller, RetryCause cause = RetryCause::kFailed,
               const AdmissionQueue::Demand& demand = {}) {
    return queue.putBack(std::move(caller.slot), caller.ticket, demand, cause);
  }
  // As the proxy does when a replica says no.
  std::uint32_t refuse(Caller& caller) {
    const std::uint32_t in_a_row = caller.slot.refused();
    EXPECT_TRUE(putBack(caller, RetryCause::kRefused));
    return in_a_row;
  }
};

TEST_F(QueueWithRetries, ARequestPutBackKeepsItsOriginalPlace) {
  Replica& replica = readyReplica();
  const auto callers = arrive(3);
  const std::uint64_t place = callers[0]->ticket.place();
  queue.setAvailable(replica.id, false);
  EXPECT_TRUE(putBack(*callers[0]));
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
  ASSERT_TRUE(putBack(*callers[1]));
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
  ASSERT_TRUE(putBack(*caller));
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &other);
  EXPECT_NE(&caller->slot.replica(), &refusing);
}

TEST_F(QueueWithRetries, TakesTheRefusingReplicaIfNoOtherHasASlot) {
  Replica& only = readyReplica();
  const auto caller = arrive();
  ASSERT_TRUE(putBack(*caller));
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &only);
}

TEST_F(QueueWithRetries, PassesOverWhoBacksOffUntilItIsActive) {
  readyReplica();
  const auto caller = arrive();
  const auto next = arrive();
  ASSERT_TRUE(putBack(*caller, RetryCause::kNotSent));
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
  ASSERT_TRUE(putBack(*caller, RetryCause::kNotSent));
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
  ASSERT_TRUE(putBack(*caller, RetryCause::kNotSent));
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
  EXPECT_TRUE(putBack(*running, RetryCause::kNotSent, {.bytes = 5000}));
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
    EXPECT_TRUE(putBack(*callers[i])) << i;
  }
  EXPECT_FALSE(putBack(*callers[4]));
  EXPECT_FALSE(callers[4]->ticket.waits());
  EXPECT_EQ(now().accepted, now().waiting + now().in_flight + now().done);
}

TEST_F(QueueWithRetries, WhatCouldNotBeSentIsNotBudgeted) {
  queue.setTarget(9);
  readyReplica();
  const auto callers = arrive(9);
  for (const auto& caller : callers) {
    ASSERT_TRUE(putBack(*caller, RetryCause::kNotSent));
  }
  EXPECT_EQ(now().waiting, 9u);
  callers.front()->ticket.leave();
  callers.back()->ticket.activate();
  collect();
  EXPECT_TRUE(callers.back()->hasSlot());
  EXPECT_TRUE(putBack(*callers.back())) << "nothing counts as a retry so far";
  collect();
}

TEST_F(QueueWithRetries, AlwaysAllowsSoManyRetries) {
  readyReplica();
  const auto caller = arrive();
  EXPECT_TRUE(putBack(*caller)) << "nothing else is in flight, one is allowed";
}

TEST_F(QueueWithRetries, ARetryCountsUntilItHasEnded) {
  queue.setTarget(2);
  readyReplica();
  const auto first = arrive();
  const auto second = arrive();
  ASSERT_TRUE(putBack(*first));
  collect();
  ASSERT_TRUE(first->hasSlot());
  EXPECT_FALSE(putBack(*second)) << "the first retry still runs";
  const auto third = arrive();
  first->slot.release();
  EXPECT_TRUE(putBack(*third));
  collect();
}

TEST_F(QueueWithRetries, ARequestMayBePutBackAgain) {
  readyReplica();
  const auto caller = arrive();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(putBack(*caller)) << i;
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
  EXPECT_TRUE(putBack(*caller));
  collect();
  EXPECT_TRUE(caller->hasSlot());
}

TEST_F(QueueWithRetries, TheFreedSlotGoesToTheNextWhenAPutBackIsRefused) {
  queue.setTarget(2);
  readyReplica();
  const auto first = arrive();
  const auto second = arrive();
  const auto waiter = arrive();
  ASSERT_TRUE(putBack(*first));
  collect();
  ASSERT_TRUE(first->hasSlot());
  ASSERT_FALSE(putBack(*second));
  collect();
  EXPECT_TRUE(waiter->hasSlot());
}

TEST_F(QueueWithRetries, ARefusalIsNotAFreeSlot) {
  Replica& only = readyReplica();
  const auto callers = arrive(3);
  EXPECT_EQ(refuse(*callers[0]), 1u);
  collect();
  EXPECT_EQ(now().waiting, 3u) << "the replica got another request";
  EXPECT_EQ(now().free_slots, 0u);
  EXPECT_TRUE(queue.replicas()[0].refusing);
  queue.offerOne(only.id);
  collect();
  EXPECT_TRUE(callers[0]->hasSlot()) << "it kept its place";
  EXPECT_EQ(now().waiting, 2u);
}

TEST_F(QueueWithRetries, RefusalsUseUpNoBudgetAndNoPlace) {
  Replica& only = readyReplica();
  const auto callers = arrive(2);
  for (std::uint32_t i = 1; i <= 20; ++i) {
    ASSERT_EQ(refuse(*callers[0]), i) << "in a row";
    queue.offerOne(only.id);
    collect();
    ASSERT_TRUE(callers[0]->hasSlot()) << i;
  }
  callers[0]->slot.accepted();
  callers[0]->slot.release();
  collect();
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_EQ(refuse(*callers[1]), 1u) << "counted from the last one accepted";
}

TEST_F(QueueWithRetries, OneRequestTriesUntilOneIsAccepted) {
  queue.setTarget(3);
  Replica& only = readyReplica();
  const auto callers = arrive(5);
  EXPECT_EQ(refuse(*callers[0]), 1u);
  EXPECT_EQ(refuse(*callers[1]), 0u) << "it was sent before the replica was known to refuse";
  callers[2]->slot.accepted();
  collect();
  EXPECT_EQ(now().in_flight, 1u) << "so was the one that is answered: no news";
  queue.offerOne(only.id);
  collect();
  ASSERT_EQ(now().in_flight, 2u);
  callers[0]->slot.accepted();
  collect();
  EXPECT_EQ(now().in_flight, 3u);
}

TEST_F(QueueWithRetries, ANewcomerDoesNotGetWhatWasRefused) {
  Replica& only = readyReplica();
  auto caller = arrive();
  caller->slot.refused();
  caller.reset();
  const auto newcomer = arrive();
  EXPECT_TRUE(newcomer->ticket.waits());
  queue.reopen(only.id);
  collect();
  EXPECT_TRUE(newcomer->hasSlot());
}

TEST_F(QueueWithRetries, AnotherReplicaTakesWhatOneRefused) {
  Replica& refusing = readyReplica();
  const auto caller = arrive();
  Replica& other = readyReplica();
  ASSERT_EQ(&caller->slot.replica(), &refusing);
  EXPECT_EQ(refuse(*caller), 1u);
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &other);
}

}  // namespace
}  // namespace penstock::proxy
