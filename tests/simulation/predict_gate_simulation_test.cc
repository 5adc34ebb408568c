// The predict gate under seeded random events with a manual clock and no threads: requests arrive,
// leave, expire, begin, finish by hand-over or by a dropped permit; in some runs the next few are
// announced, and ends and beginnings are reported late; in others the next is bound to a lane. A
// model of a few lines (a deque and a set of lanes) runs beside it, and every invariant is looked
// at after every event.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "model_runtime/predict_gate.h"
#include "tests/support/manual_clock.h"

namespace penstock::runtime {
namespace {

struct SimulatedRequest final : PredictGate::Waiter {
  std::uint64_t number = 0;  // in order of readiness
  Deadline deadline = Deadline::never();
  bool begun = false;
  bool announced = false;
  std::optional<std::size_t> bound_to{};
  TimePoint begun_at{};
  TimePoint ready_at{};
};

struct Shape {
  std::size_t lanes;
  std::size_t max_waiting;
  int arrival_weight;  // against 100 for the other events together
  std::size_t run_ahead = 0;
  bool binds = false;
};

class GateSimulation final : private PredictGate::Handler {
 public:
  GateSimulation(std::uint64_t seed, const Shape& shape)
      : random_(seed),
        shape_(shape),
        gate_(clock_, *this,
              {.lanes = shape.lanes,
               .max_waiting = shape.max_waiting,
               .max_announced = shape.run_ahead}),
        idle_since_(shape.lanes, clock_.now()) {}

  void run(std::uint64_t events) {
    for (std::uint64_t i = 0; i < events && !testing::Test::HasFailure(); ++i) {
      step();
      announce();
      bind();
      checkInvariants();
    }
    finishAll();
  }

  std::uint64_t granted() const { return granted_; }
  std::uint64_t expired() const { return expired_; }
  std::uint64_t left() const { return left_; }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t announced() const { return announced_; }
  std::uint64_t bound() const { return bound_; }

 private:
  using Running = std::pair<std::unique_ptr<SimulatedRequest>, PredictGate::Permit>;

  void step() {
    const int choice = pick(0, 99 + shape_.arrival_weight);
    if (choice >= 100) {
      arrive();
    } else if (choice < 30) {
      advanceTime();
    } else if (choice < 50) {
      leaveAtRandom();
    } else if (choice < 68) {
      beginSomeone();
    } else if (choice < 94) {
      finishSomeone();
    } else {
      dropSomeonesPermit();
    }
  }

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void advanceTime() {
    const Duration by = std::chrono::microseconds(pick(0, 50));
    for (const auto& [lane, running] : running_) {
      expected_busy_ += running.first->begun ? by : Duration::zero();
    }
    clock_.advance(by);
  }

  // Some time ago, but not before what this lane's owner has reported.
  TimePoint reportedTime(TimePoint not_before) {
    if (shape_.run_ahead == 0 && !shape_.binds) {
      return clock_.now();
    }
    const auto late = std::chrono::nanoseconds(pick(0, 30'000));
    return std::max({not_before, clock_.now() - late, idle_from_});
  }

  void announce() {
    while (PredictGate::Waiter* next = gate_.announceNext()) {
      auto& request = static_cast<SimulatedRequest&>(*next);
      const auto first_new =
          std::ranges::find_if(waiting_, [](const auto& waiter) { return !waiter->announced; });
      EXPECT_NE(first_new, waiting_.end());
      EXPECT_EQ((*first_new)->number, request.number) << "announced out of order";
      request.announced = true;
      ++announced_;
    }
    const auto announced =
        std::ranges::count_if(waiting_, [](const auto& waiter) { return waiter->announced; });
    EXPECT_EQ(static_cast<std::size_t>(announced), std::min(shape_.run_ahead, waiting_.size()));
  }

  // Now and then, for a lane at random, whether its permit is out or not.
  void bind() {
    if (!shape_.binds || pick(0, 2) > 0) {
      return;
    }
    const auto lane = static_cast<std::size_t>(pick(0, static_cast<int>(shape_.lanes) - 1));
    const bool has_one =
        std::ranges::any_of(waiting_, [&](const auto& waiter) { return waiter->bound_to == lane; });
    const bool stale = pick(0, 3) == 0;
    const std::uint64_t newest = running_.contains(lane) ? running_.at(lane).second.number() : 1;
    PredictGate::Waiter* next = gate_.bindNext(lane, newest - (stale ? 1 : 0));
    EXPECT_TRUE(next == nullptr || !stale) << "bound behind a permit that is not the lane's";
    if (next == nullptr) {
      EXPECT_TRUE(stale || has_one || !running_.contains(lane) || firstUnbound() == waiting_.end())
          << "somebody waits, and was not bound";
      return;
    }
    EXPECT_FALSE(has_one) << "two are bound to lane " << lane;
    EXPECT_TRUE(running_.contains(lane)) << "bound to a lane that is free";
    auto& request = static_cast<SimulatedRequest&>(*next);
    EXPECT_NE(firstUnbound(), waiting_.end());
    EXPECT_EQ((*firstUnbound())->number, request.number) << "bound out of order";
    EXPECT_FALSE(request.deadline.passed(clock_.now())) << "bound after its deadline";
    request.bound_to = lane;
    ++bound_;
  }

  std::deque<std::unique_ptr<SimulatedRequest>>::iterator firstUnbound() {
    return std::ranges::find_if(waiting_,
                                [](const auto& waiter) { return !waiter->bound_to.has_value(); });
  }

  void arrive() {
    auto request = std::make_unique<SimulatedRequest>();
    request->number = ++arrived_;
    request->ready_at = clock_.now();
    if (pick(0, 3) > 0) {
      request->deadline =
          Deadline::after(clock_.now(), std::chrono::microseconds(pick(0, 40) * pick(0, 40)));
    }
    SimulatedRequest& entering = *request;
    auto admission = gate_.enter(entering, entering.deadline);
    if (auto* permit = std::get_if<PredictGate::Permit>(&admission)) {
      EXPECT_EQ(firstUnbound(), waiting_.end()) << "a newcomer passed a waiter";
      EXPECT_LT(running_.size(), shape_.lanes);
      grant(std::move(request), std::move(*permit));
    } else if (std::holds_alternative<PredictGate::Waiting>(admission)) {
      EXPECT_EQ(running_.size(), shape_.lanes) << "waits although a lane is free";
      waiting_.push_back(std::move(request));
    } else {
      refuse(entering, std::get<PredictGate::Refusal>(admission));
    }
  }

  void refuse(const SimulatedRequest& request, PredictGate::Refusal refusal) {
    if (refusal == PredictGate::Refusal::kFull) {
      EXPECT_EQ(waiting_.size(), shape_.max_waiting);
    } else {
      EXPECT_TRUE(request.deadline.passed(clock_.now()));
    }
    ++refused_;
  }

  // A waiter at a random place leaves; someone who runs finds nothing to leave.
  void leaveAtRandom() {
    if (!running_.empty()) {
      EXPECT_FALSE(gate_.leave(*someoneRunning()->second.first)) << "left, and has a permit";
    }
    if (waiting_.empty()) {
      return;
    }
    const auto at = waiting_.begin() + pick(0, static_cast<int>(waiting_.size()) - 1);
    if ((*at)->bound_to.has_value()) {
      EXPECT_FALSE(gate_.leave(**at)) << "left, and may have begun";
      return;
    }
    EXPECT_TRUE(gate_.leave(**at));
    EXPECT_FALSE(gate_.leave(**at));
    waiting_.erase(at);
    ++left_;
  }

  void beginSomeone() {
    if (running_.empty()) {
      return;
    }
    auto& [request, permit] = someoneRunning()->second;
    if (request->begun) {
      return;
    }
    request->begun = true;
    const TimePoint idle_from = std::max(idle_since_[permit.lane()], request->ready_at);
    const TimePoint at = reportedTime(idle_since_[permit.lane()]);
    EXPECT_EQ(permit.begin(at), std::max(Duration::zero(), at - idle_from));
    expected_busy_ += clock_.now() - at;
    request->begun_at = at;
  }

  void finishSomeone() {
    if (running_.empty()) {
      return;
    }
    Running running = takeSomeoneRunning(true);
    const std::size_t lane = running.second.lane();
    auto grant_next = gate_.handOver(std::move(running.second), idle_since_[lane]);
    if (grant_next.has_value()) {
      EXPECT_EQ(grant_next->permit.lane(), lane) << "the lane that finishes takes the next itself";
      takeGrant(std::move(*grant_next));
    } else {
      expectNobodyIsLeftBehind();
    }
  }

  void dropSomeonesPermit() {
    if (running_.empty()) {
      return;
    }
    const std::uint64_t before = granted_;
    {
      Running running = takeSomeoneRunning(false);
    }
    if (granted_ == before) {
      expectNobodyIsLeftBehind();
    }
  }

  void expectNobodyIsLeftBehind() {
    EXPECT_EQ(firstUnbound(), waiting_.end())
        << "a lane came back, somebody waits, and nobody was granted";
  }

  std::map<std::size_t, Running>::iterator someoneRunning() {
    auto at = running_.begin();
    std::advance(at, pick(0, static_cast<int>(running_.size()) - 1));
    return at;
  }

  // late: its end may be reported with an earlier time.
  Running takeSomeoneRunning(bool late) {
    auto at = someoneRunning();
    Running running = std::move(at->second);
    if (running.first->begun) {
      const TimePoint ended = late ? reportedTime(running.first->begun_at) : clock_.now();
      expected_busy_ -= clock_.now() - ended;
      idle_since_[at->first] = ended;
    }
    running_.erase(at);
    return running;
  }

  void onGrant(PredictGate::Grant grant) override { takeGrant(std::move(grant)); }

  void onExpired(PredictGate::Waiter& waiter) override {
    auto& request = static_cast<SimulatedRequest&>(waiter);
    EXPECT_TRUE(request.deadline.passed(clock_.now())) << "expired before its deadline";
    EXPECT_FALSE(request.announced) << "who was announced may have begun";
    EXPECT_FALSE(request.bound_to.has_value()) << "who is bound may have begun";
    takeOldest(request);
    ++expired_;
  }

  void takeGrant(PredictGate::Grant next) {
    auto& request = static_cast<SimulatedRequest&>(*next.waiter);
    grant(takeOldest(request), std::move(next.permit));
  }

  std::unique_ptr<SimulatedRequest> takeOldest(const SimulatedRequest& request) {
    auto at = firstUnbound();
    if (request.bound_to.has_value()) {
      at = std::ranges::find_if(
          waiting_, [&](const auto& waiter) { return waiter->number == request.number; });
    }
    EXPECT_NE(at, waiting_.end()) << "taken out, and does not wait";
    EXPECT_EQ((*at)->number, request.number) << "not the oldest waiter";
    std::unique_ptr<SimulatedRequest> oldest = std::move(*at);
    waiting_.erase(at);
    return oldest;
  }

  void grant(std::unique_ptr<SimulatedRequest> request, PredictGate::Permit permit) {
    EXPECT_TRUE(request->announced || request->bound_to.has_value() ||
                !request->deadline.passed(clock_.now()))
        << "granted after its deadline";
    const std::size_t lane = permit.lane();
    EXPECT_LT(lane, shape_.lanes);
    EXPECT_EQ(request->bound_to.value_or(lane), lane) << "bound to another lane";
    EXPECT_TRUE(request->bound_to.has_value() ||
                std::ranges::none_of(waiting_,
                                     [&](const auto& waiter) { return waiter->bound_to == lane; }))
        << "passed who is bound to the lane";
    const bool lane_was_free =
        running_.try_emplace(lane, std::move(request), std::move(permit)).second;
    EXPECT_TRUE(lane_was_free) << "two permits for lane " << lane;
    ++granted_;
  }

  void checkInvariants() {
    const PredictGate::Snapshot now = gate_.snapshot();
    ASSERT_LE(now.permits, shape_.lanes);
    ASSERT_EQ(now.permits, running_.size());
    ASSERT_LE(now.waiting, shape_.max_waiting);
    ASSERT_EQ(now.waiting, waiting_.size());
    ASSERT_TRUE(firstUnbound() == waiting_.end() || now.permits == shape_.lanes)
        << "not work conserving";
    for (const auto& waiter : waiting_) {
      ASSERT_TRUE(!waiter->bound_to.has_value() || running_.contains(*waiter->bound_to))
          << "the lane that it is bound to is free";
    }
    ASSERT_EQ(now.busy, expected_busy_);
    ASSERT_EQ(now.in_predict, std::ranges::count_if(running_, [](const auto& entry) {
                return entry.second.first->begun;
              }));
    ASSERT_EQ(arrived_, granted_ + expired_ + left_ + refused_ + now.waiting) << "one outcome each";
  }

  void finishAll() {
    while (!running_.empty() && !testing::Test::HasFailure()) {
      finishSomeone();
      announce();
      checkInvariants();
    }
    const PredictGate::Snapshot end = gate_.snapshot();
    EXPECT_EQ(end.waiting, 0u);
    EXPECT_EQ(end.permits, 0u);
    EXPECT_EQ(end.in_predict, 0u);
  }

  std::mt19937_64 random_;
  const Shape shape_;
  ManualClock clock_;
  PredictGate gate_;
  std::deque<std::unique_ptr<SimulatedRequest>> waiting_;
  std::map<std::size_t, Running> running_;
  std::vector<TimePoint> idle_since_;
  Duration expected_busy_{};
  const TimePoint idle_from_ = clock_.now();
  std::uint64_t announced_ = 0;
  std::uint64_t bound_ = 0;
  std::uint64_t arrived_ = 0;
  std::uint64_t granted_ = 0;
  std::uint64_t expired_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t refused_ = 0;
};

// Enough waiting to be full at times, and empty at others.
constexpr Shape kShapes[] = {{.lanes = 1, .max_waiting = 8, .arrival_weight = 30},
                             {.lanes = 2, .max_waiting = 40, .arrival_weight = 45},
                             {.lanes = 3, .max_waiting = 1, .arrival_weight = 60},
                             {.lanes = 8, .max_waiting = 100, .arrival_weight = 50},
                             {.lanes = 1, .max_waiting = 0, .arrival_weight = 20},
                             {.lanes = 1, .max_waiting = 20, .arrival_weight = 40, .run_ahead = 1},
                             {.lanes = 3, .max_waiting = 30, .arrival_weight = 50, .run_ahead = 8},
                             {.lanes = 1, .max_waiting = 10, .arrival_weight = 40, .binds = true},
                             {.lanes = 3, .max_waiting = 30, .arrival_weight = 50, .binds = true}};

TEST(PredictGateSimulation, KeepsItsInvariantsThroughAMillionRandomEvents) {
  std::uint64_t granted = 0;
  std::uint64_t expired = 0;
  std::uint64_t left = 0;
  std::uint64_t refused = 0;
  std::uint64_t announced = 0;
  std::uint64_t bound = 0;
  for (std::uint64_t seed = 1; seed <= 72 && !HasFailure(); ++seed) {
    const Shape& shape = kShapes[seed % std::size(kShapes)];
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", lanes " << shape.lanes);
    GateSimulation simulation(seed, shape);
    simulation.run(24'000);
    granted += simulation.granted();
    expired += simulation.expired();
    left += simulation.left();
    refused += simulation.refused();
    announced += simulation.announced();
    bound += simulation.bound();
  }
  // The run has been through every kind of event.
  EXPECT_GT(granted, 100'000u);
  EXPECT_GT(expired, 1'000u);
  EXPECT_GT(left, 10'000u);
  EXPECT_GT(refused, 1'000u);
  EXPECT_GT(announced, 10'000u);
  EXPECT_GT(bound, 10'000u);
}

}  // namespace
}  // namespace penstock::runtime
