#include "model_runtime/predict_gate.h"

#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace penstock::runtime {
namespace {

using std::chrono::milliseconds;

struct Request final : PredictGate::Waiter {};

class PredictGateTest : public testing::Test, protected PredictGate::Handler {
 protected:
  void onGrant(PredictGate::Grant grant) override { granted_.push_back(std::move(grant)); }
  void onExpired(PredictGate::Waiter& waiter) override { expired_.push_back(&waiter); }

  static PredictGate::Permit permitOf(PredictGate::Admission admission) {
    return std::get<PredictGate::Permit>(std::move(admission));
  }
  static bool waits(const PredictGate::Admission& admission) {
    return std::holds_alternative<PredictGate::Waiting>(admission);
  }
  static PredictGate::Refusal refusalOf(const PredictGate::Admission& admission) {
    return std::get<PredictGate::Refusal>(admission);
  }
  Deadline in(Duration timeout) const { return Deadline::after(clock_.now(), timeout); }

  ManualClock clock_;
  // Declared after what its permits' destructors need.
  std::vector<PredictGate::Waiter*> expired_;
  const Deadline never_ = Deadline::never();
  PredictGate gate_{clock_, *this, {.lanes = 2, .max_waiting = 2}};
  std::vector<PredictGate::Grant> granted_;
};

TEST_F(PredictGateTest, GivesEachLaneOnce) {
  Request first, second, third;
  PredictGate::Permit a = permitOf(gate_.enter(first, never_));
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  EXPECT_NE(a.lane(), b.lane());
  EXPECT_TRUE(waits(gate_.enter(third, never_)));
  EXPECT_EQ(gate_.snapshot().waiting, 1u);
  EXPECT_TRUE(gate_.leave(third));
}

TEST_F(PredictGateTest, HandsALaneToTheOldestWaiter) {
  Request first, second, third, fourth;
  PredictGate::Permit a = permitOf(gate_.enter(first, never_));
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  EXPECT_TRUE(waits(gate_.enter(third, never_)));
  EXPECT_TRUE(waits(gate_.enter(fourth, never_)));
  const std::size_t lane = b.lane();
  auto next = gate_.handOver(std::move(b));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->waiter, &third);
  EXPECT_EQ(next->permit.lane(), lane);
  EXPECT_TRUE(gate_.leave(fourth));
  EXPECT_FALSE(gate_.handOver(std::move(a)).has_value());
}

TEST_F(PredictGateTest, GrantsThroughTheHandlerWhenAPermitIsDropped) {
  Request first, second, third;
  auto a = std::make_unique<PredictGate::Permit>(permitOf(gate_.enter(first, never_)));
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  EXPECT_TRUE(waits(gate_.enter(third, never_)));
  const std::size_t lane = a->lane();
  a.reset();
  ASSERT_EQ(granted_.size(), 1u);
  EXPECT_EQ(granted_[0].waiter, &third);
  EXPECT_EQ(granted_[0].permit.lane(), lane);
}

class AnnouncingGateTest : public PredictGateTest {
 protected:
  PredictGate ahead_{clock_, *this, {.lanes = 1, .max_waiting = 4, .max_announced = 2}};
};

TEST_F(AnnouncingGateTest, AnnouncesTheNextInOrderAndNoMore) {
  Request running, a, b, c;
  PredictGate::Permit permit = permitOf(ahead_.enter(running, never_));
  EXPECT_EQ(ahead_.announceNext(), nullptr);
  for (Request* request : {&a, &b, &c}) {
    EXPECT_TRUE(waits(ahead_.enter(*request, never_)));
  }
  static PredictGate::Waiter* marked = nullptr;
  EXPECT_EQ(ahead_.announceNext([](PredictGate::Waiter& waiter) { marked = &waiter; }), &a);
  EXPECT_EQ(marked, &a);
  EXPECT_EQ(ahead_.announceNext(), &b);
  EXPECT_EQ(ahead_.announceNext(), nullptr);
  EXPECT_TRUE(ahead_.leave(a)) << "it has not begun";
  EXPECT_EQ(ahead_.announceNext(), &c);
  EXPECT_EQ(ahead_.snapshot().waiting, 2u);
  auto next = ahead_.handOver(std::move(permit));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->waiter, &b);
  EXPECT_TRUE(ahead_.leave(c));
}

TEST_F(AnnouncingGateTest, DoesNotExpireWhoMayHaveBegunAlready) {
  Request running, announced, not_announced;
  PredictGate::Permit permit = permitOf(ahead_.enter(running, never_));
  EXPECT_TRUE(waits(ahead_.enter(announced, in(milliseconds(5)))));
  EXPECT_EQ(ahead_.announceNext(), &announced);
  EXPECT_TRUE(waits(ahead_.enter(not_announced, in(milliseconds(5)))));
  clock_.advance(milliseconds(10));
  auto next = ahead_.handOver(std::move(permit));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->waiter, &announced);
  EXPECT_TRUE(expired_.empty());
  EXPECT_FALSE(ahead_.handOver(std::move(next->permit)).has_value());
  EXPECT_EQ(expired_.size(), 1u);
}

TEST_F(AnnouncingGateTest, TakesTimesThatAreReportedLate) {
  Request first, second;
  PredictGate::Permit permit = permitOf(ahead_.enter(first, never_));
  EXPECT_TRUE(waits(ahead_.enter(second, never_)));
  const TimePoint start = clock_.now();
  clock_.advance(milliseconds(100));
  EXPECT_EQ(permit.begin(start + milliseconds(10)), milliseconds(10));
  EXPECT_EQ(ahead_.snapshot().busy, milliseconds(90));
  auto next = ahead_.handOver(std::move(permit), start + milliseconds(60));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->permit.begin(start + milliseconds(62)), milliseconds(2));
  EXPECT_EQ(ahead_.snapshot().busy, milliseconds(50 + 38));
  EXPECT_FALSE(ahead_.handOver(std::move(next->permit), start + milliseconds(100)).has_value());
  EXPECT_EQ(ahead_.snapshot().busy, milliseconds(88));
}

TEST_F(PredictGateTest, BindsTheNextToALaneAndNoMore) {
  Request running[2], a, b;
  PredictGate::Permit first = permitOf(gate_.enter(running[0], never_));
  EXPECT_EQ(gate_.bindNext(first.lane(), first.number()), nullptr) << "nobody waits";
  PredictGate::Permit second = permitOf(gate_.enter(running[1], never_));
  EXPECT_TRUE(waits(gate_.enter(a, in(milliseconds(5)))));
  EXPECT_TRUE(waits(gate_.enter(b, never_)));
  EXPECT_EQ(gate_.bindNext(first.lane(), first.number()), &a);
  EXPECT_EQ(gate_.bindNext(first.lane(), first.number()), nullptr) << "one is";
  EXPECT_EQ(gate_.snapshot().waiting, 2u) << "it has no permit yet";
  EXPECT_FALSE(gate_.leave(a)) << "its work cannot be taken out again";
  clock_.advance(milliseconds(10));
  auto other = gate_.handOver(std::move(second));
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->waiter, &b) << "the other lane does not wait for it";
  auto next = gate_.handOver(std::move(first));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->waiter, &a);
  EXPECT_TRUE(expired_.empty()) << "it may have begun before its deadline";
}

// Whoever binds may not know yet that the lane has gone on to another request.
TEST_F(PredictGateTest, BindsNobodyBehindAPermitThatHasComeBack) {
  PredictGate one_lane{clock_, *this, {.lanes = 1, .max_waiting = 2}};
  Request first, second, third;
  PredictGate::Permit permit = permitOf(one_lane.enter(first, never_));
  const std::uint64_t number = permit.number();
  EXPECT_TRUE(waits(one_lane.enter(second, never_)));
  EXPECT_TRUE(waits(one_lane.enter(third, never_)));
  auto next = one_lane.handOver(std::move(permit));
  EXPECT_EQ(one_lane.bindNext(0, number), nullptr);
  EXPECT_EQ(one_lane.bindNext(0, next->permit.number()), &third);
  next = one_lane.handOver(std::move(next->permit));
  const std::uint64_t last = next->permit.number();
  EXPECT_FALSE(one_lane.handOver(std::move(next->permit)).has_value());
  EXPECT_EQ(one_lane.bindNext(0, last), nullptr) << "the lane is free";
}

TEST_F(PredictGateTest, BindsNobodyAfterTheDeadline) {
  Request running[2], late, patient;
  PredictGate::Permit first = permitOf(gate_.enter(running[0], never_));
  PredictGate::Permit second = permitOf(gate_.enter(running[1], never_));
  EXPECT_TRUE(waits(gate_.enter(late, in(milliseconds(5)))));
  EXPECT_TRUE(waits(gate_.enter(patient, never_)));
  clock_.advance(milliseconds(5));
  EXPECT_EQ(gate_.bindNext(first.lane(), first.number()), &patient);
  EXPECT_EQ(expired_, std::vector<PredictGate::Waiter*>{&late});
  EXPECT_FALSE(gate_.handOver(std::move(second)).has_value());
  EXPECT_TRUE(gate_.handOver(std::move(first)).has_value());
}

TEST_F(PredictGateTest, GrantsWhoIsBoundWhenThePermitIsDropped) {
  Request running[2], bound;
  auto first = std::make_unique<PredictGate::Permit>(permitOf(gate_.enter(running[0], never_)));
  PredictGate::Permit second = permitOf(gate_.enter(running[1], never_));
  EXPECT_TRUE(waits(gate_.enter(bound, never_)));
  EXPECT_EQ(gate_.bindNext(first->lane(), first->number()), &bound);
  first.reset();
  ASSERT_EQ(granted_.size(), 1u);
  EXPECT_EQ(granted_[0].waiter, &bound);
}

TEST_F(PredictGateTest, RefusesBeyondItsBound) {
  Request running[2], waiting[2], one_too_many;
  PredictGate::Permit a = permitOf(gate_.enter(running[0], never_));
  PredictGate::Permit b = permitOf(gate_.enter(running[1], never_));
  EXPECT_TRUE(waits(gate_.enter(waiting[0], never_)));
  EXPECT_TRUE(waits(gate_.enter(waiting[1], never_)));
  EXPECT_EQ(refusalOf(gate_.enter(one_too_many, never_)), PredictGate::Refusal::kFull);
  EXPECT_TRUE(gate_.leave(waiting[0]));
  EXPECT_TRUE(waits(gate_.enter(one_too_many, never_)));
  EXPECT_TRUE(gate_.leave(waiting[1]));
  EXPECT_TRUE(gate_.leave(one_too_many));
}

TEST_F(PredictGateTest, RefusesADeadlineThatHasPassed) {
  Request late;
  EXPECT_EQ(refusalOf(gate_.enter(late, in(milliseconds(0)))),
            PredictGate::Refusal::kDeadlinePassed);
}

TEST_F(PredictGateTest, NeverGrantsAfterTheDeadline) {
  Request first, second, late, patient;
  PredictGate::Permit a = permitOf(gate_.enter(first, never_));
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  EXPECT_TRUE(waits(gate_.enter(late, in(milliseconds(5)))));
  EXPECT_TRUE(waits(gate_.enter(patient, in(milliseconds(6)))));
  clock_.advance(milliseconds(5));
  auto next = gate_.handOver(std::move(a));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->waiter, &patient);
  EXPECT_EQ(expired_, std::vector<PredictGate::Waiter*>{&late});
  EXPECT_FALSE(gate_.leave(late));
}

TEST_F(PredictGateTest, MeasuresTheGapFromWhenBothLaneAndRequestWereReady) {
  Request first, second;
  {
    PredictGate::Permit a = permitOf(gate_.enter(first, never_));
    clock_.advance(milliseconds(3));
    EXPECT_EQ(a.begin(), milliseconds(3));  // ready for 3 ms, the lane free for longer
    clock_.advance(milliseconds(20));
  }
  clock_.advance(milliseconds(50));  // idle, but nobody was ready
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  clock_.advance(milliseconds(1));
  EXPECT_EQ(b.begin(), milliseconds(1));
}

TEST_F(PredictGateTest, CountsTheTimeInPredictPerLane) {
  Request first, second;
  PredictGate::Permit a = permitOf(gate_.enter(first, never_));
  clock_.advance(milliseconds(100));  // permit out, predict not begun
  a.begin();
  clock_.advance(milliseconds(10));
  PredictGate::Permit b = permitOf(gate_.enter(second, never_));
  b.begin();
  clock_.advance(milliseconds(5));
  EXPECT_EQ(gate_.snapshot().busy, milliseconds(20));
  EXPECT_EQ(gate_.snapshot().in_predict, 2u);
  EXPECT_FALSE(gate_.handOver(std::move(a)).has_value());
  clock_.advance(milliseconds(1));
  EXPECT_EQ(gate_.snapshot().busy, milliseconds(21));
}

TEST_F(PredictGateTest, PermitsReturnToZero) {
  Request first;
  {
    PredictGate::Permit a = permitOf(gate_.enter(first, never_));
    PredictGate::Permit moved = std::move(a);
    EXPECT_EQ(gate_.snapshot().permits, 1u);
  }
  EXPECT_EQ(gate_.snapshot().permits, 0u);
}

}  // namespace
}  // namespace penstock::runtime
