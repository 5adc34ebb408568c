// Which replica gets a request, and what replicas and targets that come and go do to who waits.

#include <map>

#include "tests/proxy/cluster/admission_queue_fixture.h"

namespace penstock::proxy {
namespace {

class QueueWithReplicas : public AdmissionQueueTest {
 protected:
  QueueWithReplicas() : AdmissionQueueTest({.concurrency_target = 2, .max_requests = 100}) {}

  std::uint32_t inFlightOf(ReplicaId id) const {
    for (const auto& replica : queue.replicas()) {
      if (replica.id == id) {
        return replica.in_flight;
      }
    }
    return 0;
  }
};

TEST_F(QueueWithReplicas, ChoosesTheLeastLoadedReplica) {
  Replica& first = readyReplica();
  const auto early = arrive(2);
  Replica& second = readyReplica();
  const auto next = arrive(2);
  EXPECT_EQ(&next[0]->slot.replica(), &second);
  EXPECT_EQ(&next[1]->slot.replica(), &second);
  early[0]->slot.release();
  EXPECT_EQ(&arrive()->slot.replica(), &first);
}

TEST_F(QueueWithReplicas, RotatesAmongEquals) {
  for (int i = 0; i < 3; ++i) {
    readyReplica();
  }
  std::map<ReplicaId, int> served;
  for (int i = 0; i < 9; ++i) {
    // Returned at once: all three are equal each time.
    ++served[arrive()->slot.replica().id];
  }
  EXPECT_EQ(served, (std::map<ReplicaId, int>{{1, 3}, {2, 3}, {3, 3}}));
}

TEST_F(QueueWithReplicas, PrefersAFreeGateAmongEqualsAndNoneElse) {
  readyReplica();
  Replica& free = readyReplica();
  readyReplica();
  queue.setGateFreeUntil(free.id, clock.now() + 1s);
  std::map<ReplicaId, int> served;
  for (int i = 0; i < 9; ++i) {
    ++served[arrive()->slot.replica().id];
  }
  EXPECT_EQ(served, (std::map<ReplicaId, int>{{free.id, 9}}));
  const auto callers = arrive(3);
  EXPECT_EQ(&callers[0]->slot.replica(), &free);
  EXPECT_NE(&callers[1]->slot.replica(), &free) << "it has more than the others now";
  EXPECT_NE(&callers[2]->slot.replica(), &free);
}

TEST_F(QueueWithReplicas, RotatesAmongThoseWhoseGatesAreFree) {
  std::map<ReplicaId, int> wanted;
  for (int i = 0; i < 4; ++i) {
    Replica& replica = readyReplica();
    if (i % 2 == 0) {
      queue.setGateFreeUntil(replica.id, TimePoint::max());
      wanted[replica.id] = 5;
    }
  }
  std::map<ReplicaId, int> served;
  for (int i = 0; i < 10; ++i) {
    ++served[arrive()->slot.replica().id];
  }
  EXPECT_EQ(served, wanted);
}

TEST_F(QueueWithReplicas, AWordOfAFreeGateHoldsUntilItsTime) {
  Replica& first = readyReplica();
  readyReplica();
  queue.setGateFreeUntil(first.id, clock.now() + 1s);
  clock.advance(1s);
  std::map<ReplicaId, int> served;
  for (int i = 0; i < 4; ++i) {
    ++served[arrive()->slot.replica().id];
  }
  EXPECT_EQ(served, (std::map<ReplicaId, int>{{1, 2}, {2, 2}}));
}

TEST_F(QueueWithReplicas, AWaiterGetsAFreeGateToo) {
  readyReplica();
  readyReplica();
  Replica& free = readyReplica();
  readyReplica();
  const auto callers = arrive(9);
  ASSERT_TRUE(callers[8]->ticket.waits());
  queue.setGateFreeUntil(free.id, clock.now() + 1s);
  queue.setTarget(3);
  collect();
  ASSERT_TRUE(callers[8]->hasSlot());
  EXPECT_EQ(&callers[8]->slot.replica(), &free);
}

TEST_F(QueueWithReplicas, AReplicaThatLeavesGetsNothingWhileAnotherIsKnown) {
  Replica& leaving = readyReplica();
  Replica& staying = readyReplica();
  queue.setGateFreeUntil(leaving.id, TimePoint::max());
  queue.setLeaving(leaving.id, true);
  const auto callers = arrive(3);
  EXPECT_EQ(&callers[0]->slot.replica(), &staying);
  EXPECT_EQ(&callers[1]->slot.replica(), &staying);
  EXPECT_TRUE(callers[2]->ticket.waits());
  queue.setAvailable(staying.id, false);
  EXPECT_TRUE(callers[2]->ticket.waits()) << "the other one is still known";
  queue.setLeaving(leaving.id, false);
  collect();
  ASSERT_TRUE(callers[2]->hasSlot());
  EXPECT_EQ(&callers[2]->slot.replica(), &leaving);
}

TEST_F(QueueWithReplicas, ThatAllLeaveIsNoReasonToServeNobody) {
  Replica& one = readyReplica();
  Replica& other = readyReplica();
  queue.setLeaving(one.id, true);
  queue.setLeaving(other.id, true);
  const auto callers = arrive(5);
  EXPECT_TRUE(callers[3]->hasSlot());
  ASSERT_TRUE(callers[4]->ticket.waits());
  Replica& staying = readyReplica();
  collect();
  ASSERT_TRUE(callers[4]->hasSlot());
  EXPECT_EQ(&callers[4]->slot.replica(), &staying);
}

TEST_F(QueueWithReplicas, WhenTheOnlyOneThatStaysIsRemovedThoseThatLeaveServe) {
  Replica& leaving = readyReplica();
  Replica& staying = readyReplica();
  queue.setLeaving(leaving.id, true);
  const auto callers = arrive(3);
  ASSERT_TRUE(callers[2]->ticket.waits());
  queue.removeReplica(staying.id);
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
}

TEST_F(QueueWithReplicas, WhoWasRefusedByAReplicaGoesToAnotherWhateverItsGateSays) {
  Replica& refusing = readyReplica();
  queue.setGateFreeUntil(refusing.id, TimePoint::max());
  auto caller = arrive();
  ASSERT_EQ(&caller->slot.replica(), &refusing);
  Replica& other = readyReplica();
  const auto load = arrive();
  ASSERT_EQ(&load->slot.replica(), &other);
  EXPECT_TRUE(queue.putBack(std::move(caller->slot), caller->ticket, {}, RetryCause::kFailed));
  collect();
  ASSERT_TRUE(caller->hasSlot());
  EXPECT_EQ(&caller->slot.replica(), &other);
}

TEST_F(QueueWithReplicas, ANewReplicaTakesWaitersTheMomentItIsAvailable) {
  const auto callers = arrive(3);
  Replica& replica = queue.addReplica(net::Address::loopback(1));
  collect();
  EXPECT_FALSE(callers[0]->hasSlot()) << "added is not available";
  queue.setAvailable(replica.id, true);
  collect();
  EXPECT_TRUE(callers[0]->hasSlot());
  EXPECT_TRUE(callers[1]->hasSlot());
  EXPECT_FALSE(callers[2]->hasSlot());
}

TEST_F(QueueWithReplicas, AnUnavailableReplicaKeepsWhatItHasAndGetsNothingMore) {
  Replica& replica = readyReplica();
  const auto callers = arrive(3);
  queue.setAvailable(replica.id, false);
  EXPECT_EQ(inFlightOf(replica.id), 2u);
  callers[0]->slot.release();
  collect();
  EXPECT_FALSE(callers[2]->hasSlot());
  queue.setAvailable(replica.id, true);
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
}

TEST_F(QueueWithReplicas, ARemovedReplicaVanishesWithItsLastSlot) {
  Replica& replica = readyReplica();
  const ReplicaId id = replica.id;
  const auto callers = arrive(3);
  queue.removeReplica(id);
  ASSERT_EQ(queue.replicas().size(), 1u);
  EXPECT_TRUE(queue.replicas()[0].removed);
  EXPECT_FALSE(queue.anyAvailable());
  callers[0]->slot.release();
  EXPECT_EQ(queue.replicas().size(), 1u);
  callers[1]->slot.release();
  EXPECT_TRUE(queue.replicas().empty());
  collect();
  EXPECT_TRUE(callers[2]->ticket.waits());
}

TEST_F(QueueWithReplicas, IgnoresLateEventsOfAnOldIncarnation) {
  Replica& old = readyReplica();
  const ReplicaId old_id = old.id;
  const auto running = arrive();
  queue.removeReplica(old_id);
  queue.setAvailable(old_id, true);
  Replica& fresh = queue.addReplica(net::Address::loopback(8080));
  EXPECT_NE(fresh.id, old_id);
  queue.setAvailable(old_id, true);
  queue.removeReplica(old_id);
  EXPECT_FALSE(queue.anyAvailable());
  EXPECT_EQ(now().free_slots, 0u);
  running->slot.release();
  EXPECT_EQ(queue.replicas().size(), 1u);
  EXPECT_EQ(queue.replicas()[0].id, fresh.id);
}

TEST_F(QueueWithReplicas, ANewIncarnationGetsOnlyWhatTheOldOneAtItsAddressLeavesFree) {
  readyReplicaAt(1);
  const auto callers = arrive(5);
  for (int comebacks = 0; comebacks < 2; ++comebacks) {
    queue.removeReplica(queue.replicas().back().id);
    readyReplicaAt(1);
    collect();
    EXPECT_EQ(now().in_flight, 2u) << "both slots are out, whoever they were taken of";
    EXPECT_EQ(now().free_slots, 0u);
  }
  callers[0]->slot.release();
  collect();
  EXPECT_EQ(callers[2]->slot.replica().id, queue.replicas().back().id);
  EXPECT_EQ(now().in_flight, 2u);
  callers[1]->slot.release();
  callers[2]->slot.release();
  collect();
  EXPECT_TRUE(callers[3]->hasSlot());
  EXPECT_TRUE(callers[4]->hasSlot());
  EXPECT_EQ(queue.replicas().size(), 1u) << "the old ones are gone";
}

TEST_F(QueueWithReplicas, WhatIsOutAtAnAddressMakesItLookBusy) {
  readyReplicaAt(1);
  const auto old = arrive();
  queue.removeReplica(queue.replicas().back().id);
  readyReplicaAt(1);
  Replica& idle = readyReplicaAt(2);
  EXPECT_EQ(&arrive()->slot.replica(), &idle);
}

TEST_F(QueueWithReplicas, AnotherTargetCountsWhatIsStillOutAtAnAddress) {
  readyReplicaAt(1);
  const auto callers = arrive(5);
  queue.removeReplica(queue.replicas().back().id);
  readyReplicaAt(1);
  queue.setTarget(3);
  collect();
  EXPECT_TRUE(callers[2]->hasSlot());
  EXPECT_FALSE(callers[3]->hasSlot());
  queue.setTarget(1);
  EXPECT_EQ(now().free_slots, 0u);
  callers[0]->slot.release();
  callers[2]->slot.release();
  collect();
  EXPECT_FALSE(callers[3]->hasSlot());
  callers[1]->slot.release();
  collect();
  EXPECT_TRUE(callers[3]->hasSlot());
}

TEST_F(QueueWithReplicas, TellsWhatItsReplicasHaveDone) {
  Replica& replica = readyReplica();
  replica.requests = 3;
  replica.succeeded = 2;
  replica.failed = 1;
  const auto listed = queue.replicas();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].requests, 3u);
  EXPECT_EQ(listed[0].succeeded, 2u);
  EXPECT_EQ(listed[0].failed, 1u);
  EXPECT_EQ(listed[0].address.toString(), "127.0.0.1:8080");
}

TEST_F(QueueWithReplicas, ALoweredTargetSwallowsSlotsAsTheyComeBack) {
  queue.setTarget(3);
  readyReplica();
  const auto callers = arrive(4);
  queue.setTarget(1);
  EXPECT_EQ(now().in_flight, 3u) << "nothing is taken away";
  callers[0]->slot.release();
  callers[1]->slot.release();
  collect();
  EXPECT_FALSE(callers[3]->hasSlot());
  callers[2]->slot.release();
  collect();
  EXPECT_TRUE(callers[3]->hasSlot());
}

TEST_F(QueueWithReplicas, ARaisedTargetGrantsAtOnce) {
  readyReplica();
  const auto callers = arrive(5);
  EXPECT_EQ(now().in_flight, 2u);
  queue.setTarget(4);
  EXPECT_EQ(now().in_flight, 4u);
  collect();
  EXPECT_TRUE(callers[3]->hasSlot());
  EXPECT_FALSE(callers[4]->hasSlot());
}

TEST_F(QueueWithReplicas, ATargetAppliesToReplicasThatAreNotAvailableNow) {
  Replica& replica = readyReplica();
  queue.setAvailable(replica.id, false);
  queue.setTarget(1);
  queue.setAvailable(replica.id, true);
  EXPECT_EQ(now().free_slots, 1u);
}

}  // namespace
}  // namespace penstock::proxy
