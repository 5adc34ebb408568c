#include "model_runtime/ahead_lane.h"

#include <future>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/runtime_fixture.h"

namespace penstock::runtime {
namespace {

using testing::ElementsAre;

struct NamedRequest final : PredictGate::Waiter {
  explicit NamedRequest(std::string the_name) : name(std::move(the_name)) {}
  const std::string name;
};

// Requests that take no time, on a lane of a real gate. What happens is noted.
class AheadLaneTest : public testing::Test,
                      protected PredictGate::Handler,
                      protected AheadLane::Work {
 protected:
  void onGrant(PredictGate::Grant) override { FAIL() << "no permit is just dropped"; }
  void onExpired(PredictGate::Waiter&) override { FAIL() << "nobody has a deadline"; }

  PredictGate::Waiter* bindNext(std::uint64_t permit_number) override {
    return gate_.bindNext(0, permit_number);
  }
  void launch(PredictGate::Waiter& waiter) override { note("launch ", waiter); }
  std::optional<PredictGate::Grant> finish(PredictGate::Grant grant) override {
    note("finish ", *grant.waiter);
    return gate_.handOver(std::move(grant.permit));
  }
  void note(const std::string& what, PredictGate::Waiter& waiter) {
    journal_.note(what + static_cast<NamedRequest&>(waiter).name);
  }

  // The first, and the second behind it.
  PredictGate::Grant enterBoth() {
    auto admission = gate_.enter(first_, Deadline::never());
    auto second = gate_.enter(second_, Deadline::never());
    EXPECT_TRUE(std::holds_alternative<PredictGate::Waiting>(second));
    return {&first_, std::get<PredictGate::Permit>(std::move(admission))};
  }

  SteadyClock clock_;
  PredictGate gate_{clock_, *this, {.lanes = 1}};
  Journal journal_;
  NamedRequest first_{"first"};
  NamedRequest second_{"second"};
};

TEST_F(AheadLaneTest, LaunchesAndFinishesEachOnceInOrder) {
  {
    AheadLane lane(0, *this);
    lane.give(enterBoth());
    journal_.waitFor(4);
  }
  const auto events = journal_.events();
  EXPECT_EQ(events.size(), 4u);
  EXPECT_LT(std::ranges::find(events, "launch first"), std::ranges::find(events, "launch second"));
  EXPECT_LT(std::ranges::find(events, "finish first"), std::ranges::find(events, "finish second"));
  EXPECT_LT(std::ranges::find(events, "launch second"), std::ranges::find(events, "finish second"));
}

// The one in front ends just when the next has been bound, and that one's grant reaches the lane
// before the launching thread is back from the gate.
class QuickGrantTest : public AheadLaneTest {
 protected:
  PredictGate::Waiter* bindNext(std::uint64_t permit_number) override {
    PredictGate::Waiter* next = AheadLaneTest::bindNext(permit_number);
    if (next != nullptr) {
      bound_.set_value();
      lane_->give(granted_.get_future().get());
    }
    return next;
  }
  std::optional<PredictGate::Grant> finish(PredictGate::Grant grant) override {
    if (grant.waiter == &second_) {
      return AheadLaneTest::finish(std::move(grant));
    }
    bound_.get_future().wait();
    auto next = AheadLaneTest::finish(std::move(grant));
    EXPECT_TRUE(next.has_value() && next->waiter == &second_);
    granted_.set_value(std::move(*next));
    return std::nullopt;
  }

  std::promise<void> bound_;
  std::promise<PredictGate::Grant> granted_;
  std::optional<AheadLane> lane_;
};

TEST_F(QuickGrantTest, AGrantThatIsQuickerThanItsBindingIsOneRequestAllTheSame) {
  AheadLane::Work& work = *this;
  lane_.emplace(0u, work);
  lane_->give(enterBoth());
  journal_.waitFor(4);
  lane_.reset();
  EXPECT_THAT(journal_.events(),
              ElementsAre("launch first", "finish first", "launch second", "finish second"));
}

}  // namespace
}  // namespace penstock::runtime
