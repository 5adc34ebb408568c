// What one call of the queue promises: who gets a slot, who waits, who is refused.

#include "proxy/cluster/admission_queue.h"

#include <utility>

#include "tests/proxy/cluster/admission_queue_fixture.h"

namespace penstock::proxy {
namespace {

using AdmissionQueueDeathTest = AdmissionQueueTest;

TEST_F(AdmissionQueueTest, GivesAFreeSlotAtOnce) {
  Replica& replica = readyReplica();
  const auto caller = arrive();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &replica);
  EXPECT_FALSE(caller->ticket.waits());
  EXPECT_EQ(now().in_flight, 1u);
  EXPECT_EQ(now().free_slots, 0u);
}

TEST_F(AdmissionQueueTest, LetsWaitWhoFindsNoReplica) {
  const auto caller = arrive();
  EXPECT_TRUE(caller->ticket.waits());
  EXPECT_FALSE(queue.anyAvailable());
  EXPECT_EQ(now().waiting, 1u);
}

TEST_F(AdmissionQueueTest, NeverGivesMoreThanTheTarget) {
  queue.setTarget(2);
  readyReplica();
  const auto callers = arrive(3);
  EXPECT_TRUE(callers[0]->hasSlot());
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_FALSE(callers[2]->hasSlot());
  EXPECT_EQ(now().in_flight, 2u);
}

TEST_F(AdmissionQueueTest, GivesAFreedSlotToTheOldestWaiter) {
  readyReplica();
  const auto callers = arrive(3);
  callers[0]->slot.release();
  collect();
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_FALSE(callers[2]->hasSlot());
  callers[1]->slot.release();
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
}

TEST_F(AdmissionQueueTest, HandsAFreedSlotOverSoThatNobodyElseGetsIt) {
  readyReplica();
  const auto callers = arrive(2);
  callers[0]->slot.release();
  // Granted, not told yet: a newcomer waits all the same.
  const auto newcomer = arrive();
  EXPECT_FALSE(newcomer->hasSlot());
  EXPECT_EQ(now().undelivered, 1u);
  collect();
  EXPECT_TRUE(callers[1]->hasSlot());
}

TEST_F(AdmissionQueueTest, ReturnsASlotOnceHoweverItIsMoved) {
  readyReplica();
  auto caller = arrive();
  {
    Slot moved = std::move(caller->slot);
    Slot again;
    again = std::move(moved);
    EXPECT_FALSE(moved.valid());
    EXPECT_EQ(now().in_flight, 1u);
    again.release();
    again.release();
    EXPECT_EQ(now().in_flight, 0u);
  }
  EXPECT_EQ(now().done, 1u);
}

TEST_F(AdmissionQueueTest, AssigningToASlotReturnsTheOneItHeld) {
  queue.setTarget(2);
  readyReplica();
  const auto callers = arrive(2);
  callers[0]->slot = std::move(callers[1]->slot);
  EXPECT_EQ(now().in_flight, 1u);
}

TEST_F(AdmissionQueueTest, AWaiterThatLeavesIsPassedOver) {
  readyReplica();
  auto callers = arrive(3);
  callers[1].reset();
  EXPECT_EQ(now().waiting, 1u);
  callers[0]->slot.release();
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
  EXPECT_EQ(now().accepted, now().waiting + now().in_flight + now().done);
}

TEST_F(AdmissionQueueTest, AGrantNotYetToldGoesToTheNextWhenItsWaiterLeaves) {
  readyReplica();
  auto callers = arrive(3);
  callers[0]->slot.release();
  callers[1].reset();
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
  EXPECT_EQ(now().in_flight, 1u);
}

TEST_F(AdmissionQueueTest, LeavingTwiceIsLeavingOnce) {
  const auto caller = arrive();
  caller->ticket.leave();
  caller->ticket.leave();
  EXPECT_EQ(now().waiting, 0u);
  EXPECT_EQ(now().done, 1u);
}

TEST_F(AdmissionQueueTest, RefusesOnePastTheBoundOfRequests) {
  const auto waiting = arrive(5);
  for (const auto& caller : waiting) {
    EXPECT_TRUE(caller->ticket.waits());
  }
  const auto refused = arrive();
  EXPECT_EQ(refused->refusal, Refusal::kQueueFull);
  EXPECT_FALSE(refused->ticket.waits());
  EXPECT_EQ(now().waiting, 5u);
  EXPECT_EQ(now().accepted, 5u);
  EXPECT_EQ(now().arrivals, 6u);
}

TEST_F(AdmissionQueueTest, RefusesOneBytePastTheBoundOfBytes) {
  const auto first = arrive({.bytes = 600});
  EXPECT_EQ(arrive({.bytes = 401})->refusal, Refusal::kQueueBytesFull);
  const auto second = arrive({.bytes = 400});
  EXPECT_TRUE(second->ticket.waits());
  EXPECT_EQ(now().waiting_bytes, 1000u);
  EXPECT_EQ(arrive({.bytes = 1})->refusal, Refusal::kQueueBytesFull);
  const auto nothing = arrive({.bytes = 0});
  EXPECT_TRUE(nothing->ticket.waits());
}

TEST_F(AdmissionQueueTest, BytesAreFreeAgainOnceTheirRequestWaitsNoLonger) {
  readyReplica();
  const auto running = arrive();
  const auto granted = arrive({.bytes = 700});
  auto leaving = arrive({.bytes = 300});
  leaving.reset();
  EXPECT_EQ(now().waiting_bytes, 700u);
  running->slot.release();
  EXPECT_EQ(now().waiting_bytes, 0u);
  collect();
}

TEST_F(AdmissionQueueTest, SaysBeforehandWhatItWouldRefuse) {
  Replica& replica = readyReplica();
  EXPECT_EQ(queue.refusalNow(5000), std::nullopt) << "a slot is free";
  const auto running = arrive();
  const auto first = arrive({.bytes = 600});
  EXPECT_EQ(queue.refusalNow(400), std::nullopt);
  EXPECT_EQ(queue.refusalNow(401), Refusal::kQueueBytesFull);
  const auto others = arrive(4);
  EXPECT_EQ(queue.refusalNow(0), Refusal::kQueueFull);
  queue.drain();
  EXPECT_EQ(queue.refusalNow(0), Refusal::kDraining);
  EXPECT_EQ(now().arrivals, 6U) << "a question is no arrival";
  EXPECT_EQ(now().in_flight, 1U);
  queue.setAvailable(replica.id, false);
}

TEST_F(AdmissionQueueTest, LoweredBoundsDropNobodyAndRefuseNewcomers) {
  const auto callers = arrive(4);
  queue.setBounds(2, 1000);
  EXPECT_EQ(now().waiting, 4u);
  EXPECT_EQ(arrive()->refusal, Refusal::kQueueFull);
  queue.setBounds(5, 0);
  EXPECT_EQ(arrive({.bytes = 1})->refusal, Refusal::kQueueBytesFull);
  EXPECT_EQ(arrive()->refusal, std::nullopt);
  queue.setTarget(4);
  readyReplica();
  collect();
  for (const auto& caller : callers) {
    EXPECT_TRUE(caller->hasSlot());
  }
}

TEST_F(AdmissionQueueTest, RaisedBoundsTakeMoreAtOnce) {
  auto callers = arrive(5);
  EXPECT_EQ(arrive()->refusal, Refusal::kQueueFull);
  queue.setBounds(6, 1000);
  callers.push_back(arrive());
  EXPECT_EQ(callers.back()->refusal, std::nullopt);
}

TEST_F(AdmissionQueueTest, BoundsAreForWaitersOnly) {
  queue.setTarget(10);
  readyReplica();
  const auto running = arrive({.bytes = 5000});
  EXPECT_TRUE(running->hasSlot());
  EXPECT_EQ(now().waiting_bytes, 0u);
}

TEST_F(AdmissionQueueTest, NeverDispatchesAWaiterWhoseDeadlineHasPassed) {
  readyReplica();
  const auto running = arrive();
  const auto late = arrive({.deadline = Deadline::after(clock.now(), 1s)});
  const auto patient = arrive({.deadline = Deadline::after(clock.now(), 2s)});
  clock.advance(1s);
  running->slot.release();
  collect();
  EXPECT_TRUE(late->expired);
  EXPECT_FALSE(late->hasSlot());
  EXPECT_FALSE(late->ticket.waits());
  EXPECT_TRUE(patient->hasSlot());
  EXPECT_EQ(now().accepted, now().waiting + now().in_flight + now().done);
}

TEST_F(AdmissionQueueTest, AnExpiredWaiterMayLeaveBeforeItIsTold) {
  readyReplica();
  const auto running = arrive();
  auto late = arrive({.deadline = Deadline::after(clock.now(), 1s)});
  clock.advance(1s);
  running->slot.release();
  late.reset();
  EXPECT_FALSE(inbox.collect(100));
  EXPECT_EQ(now().done, 2u);
}

TEST_F(AdmissionQueueTest, WakesAnInboxOnceForWhatItHasNotCollected) {
  queue.setTarget(2);
  readyReplica();
  const auto callers = arrive(4);
  callers[0]->slot.release();
  callers[1]->slot.release();
  EXPECT_EQ(wakes, 1);
  collect();
  EXPECT_EQ(wakes, 1);
  const auto more = arrive(1);
  callers[2]->slot.release();
  EXPECT_EQ(wakes, 2);
  collect();
  EXPECT_TRUE(more[0]->hasSlot());
}

TEST_F(AdmissionQueueTest, TellsAtMostSoManyPerCollect) {
  queue.setTarget(3);
  const auto callers = arrive(3);
  readyReplica();
  EXPECT_TRUE(inbox.collect(2));
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_FALSE(callers[2]->hasSlot());
  EXPECT_EQ(wakes, 1);
  EXPECT_FALSE(inbox.collect(2));
  EXPECT_TRUE(callers[2]->hasSlot());
}

TEST_F(AdmissionQueueTest, SlotsReturnedWhileCollectingAreCollectedToo) {
  readyReplica();
  struct Quick final : Ticket::Owner {
    explicit Quick(Inbox& to) : ticket(to, *this) {}
    void onGranted(Slot) override { ++served; }
    void onExpired() override {}
    int served = 0;
    Ticket ticket;
  };
  const auto running = arrive();
  Quick first(inbox);
  Quick second(inbox);
  std::ignore = queue.acquire(first.ticket, {});
  std::ignore = queue.acquire(second.ticket, {});
  running->slot.release();
  EXPECT_FALSE(inbox.collect(100));
  EXPECT_EQ(first.served + second.served, 2);
}

TEST_F(AdmissionQueueTest, LeavesGrantsInTheInboxOfTheirWaiter) {
  readyReplica();
  int other_wakes = 0;
  Inbox other(queue, [&] { ++other_wakes; });
  const auto running = arrive();
  const auto elsewhere = arriveAt(other);
  running->slot.release();
  EXPECT_EQ(wakes, 0);
  EXPECT_EQ(other_wakes, 1);
  collect();
  EXPECT_FALSE(elsewhere->hasSlot());
  other.collect(1);
  EXPECT_TRUE(elsewhere->hasSlot());
}

TEST_F(AdmissionQueueTest, RefusesNewcomersWhileItDrainsAndServesWhoWaits) {
  readyReplica();
  const auto callers = arrive(2);
  queue.drain();
  EXPECT_EQ(arrive()->refusal, Refusal::kDraining);
  callers[0]->slot.release();
  collect();
  EXPECT_TRUE(callers[1]->hasSlot());
  callers[1]->slot.release();
  EXPECT_EQ(arrive()->refusal, Refusal::kDraining) << "also with a slot free";
}

TEST_F(AdmissionQueueDeathTest, ChecksThatARequestAsksForOneSlotAtATime) {
  const auto caller = arrive();
  EXPECT_DEATH(std::ignore = queue.acquire(caller->ticket, {}), "one slot at a time");
}

TEST_F(AdmissionQueueDeathTest, ChecksThatAnAddressHasOneReplicaAtATime) {
  Replica& first = queue.addReplica(net::Address::loopback(1));
  EXPECT_DEATH(queue.addReplica(net::Address::loopback(1)), "one replica at a time");
  queue.removeReplica(first.id);
  queue.addReplica(net::Address::loopback(1));
}

TEST_F(AdmissionQueueDeathTest, ChecksThatATargetIsAtLeastOne) {
  EXPECT_DEATH(queue.setTarget(0), "at least 1");
}

}  // namespace
}  // namespace penstock::proxy
