#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "net/event_loop.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TimerTest : public testing::Test {
 protected:
  void advance(Duration by) {
    clock_.advance(by);
    runTurn(loop_);
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
};

TEST_F(TimerTest, FiresOnceWhenItIsDue) {
  int fired = 0;
  Timer timer(loop_, [&] { ++fired; });
  EXPECT_FALSE(timer.armed());
  timer.armAfter(seconds(5));
  EXPECT_TRUE(timer.armed());
  advance(seconds(4));
  EXPECT_EQ(fired, 0);
  advance(seconds(1));
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.armed());
  advance(seconds(10));
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, FiresInOrderOfDueTimes) {
  std::vector<int> order;
  Timer late(loop_, [&] { order.push_back(3); });
  Timer early(loop_, [&] { order.push_back(1); });
  Timer middle(loop_, [&] { order.push_back(2); });
  late.armAfter(seconds(3));
  early.armAfter(seconds(1));
  middle.armAfter(seconds(2));
  advance(seconds(10));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(TimerTest, TakesTheLastDueTimeEarlierOrLater) {
  int fired = 0;
  Timer timer(loop_, [&] { ++fired; });
  timer.armAfter(seconds(5));
  timer.armAfter(seconds(20));
  advance(seconds(6));
  EXPECT_EQ(fired, 0);
  timer.armAfter(seconds(1));
  advance(seconds(1));
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, DoesNotFireWhenDisarmed) {
  int fired = 0;
  Timer timer(loop_, [&] { ++fired; });
  timer.armAfter(seconds(1));
  timer.disarm();
  EXPECT_FALSE(timer.armed());
  timer.arm(TimePoint::max());
  timer.armAfter(Duration::max());
  EXPECT_FALSE(timer.armed());
  advance(seconds(2));
  EXPECT_EQ(fired, 0);
  timer.armAfter(seconds(1));
  advance(seconds(1));
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, FiresForATimeThatHasPassedButNeverFromInsideArm) {
  int fired = 0;
  Timer timer(loop_, [&] { ++fired; });
  timer.arm(clock_.now() - seconds(1));
  EXPECT_EQ(fired, 0);
  runTurn(loop_);
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, ThatReArmsItselfForThePastFiresOncePerTurn) {
  int fired = 0;
  int other_fired = 0;
  std::optional<Timer> timer;
  timer.emplace(loop_, [&] {
    ++fired;
    timer->arm(TimePoint{});
  });
  Timer other(loop_, [&] { ++other_fired; });
  timer->arm(TimePoint{});
  other.armAfter(seconds(1));
  runTurn(loop_);
  EXPECT_EQ(fired, 1);
  advance(seconds(2));
  EXPECT_EQ(fired, 2);
  EXPECT_EQ(other_fired, 1);
}

TEST_F(TimerTest, MayDestroyItselfAndOthersInItsCallback) {
  auto token = std::make_shared<int>(7);
  int seen = 0;
  int others = 0;
  std::unique_ptr<Timer> self;
  auto other = std::make_unique<Timer>(loop_, [&] { ++others; });
  self = std::make_unique<Timer>(loop_, [&, token] {
    self.reset();
    other.reset();
    seen = *token;
  });
  self->armAfter(seconds(1));
  other->armAfter(seconds(1) + milliseconds(1));
  advance(seconds(2));
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(others, 0);
  EXPECT_EQ(token.use_count(), 1);
}

// Random arming, disarming and destruction against a list of due times.
TEST_F(TimerTest, AgreesWithAPlainListUnderRandomUse) {
  constexpr std::size_t kTimers = 200;
  struct Slot {
    std::unique_ptr<Timer> timer;
    TimePoint due = TimePoint::max();
    bool fired = false;
  };
  std::mt19937 random(20'240'611);
  std::vector<Slot> slots(kTimers);
  for (int step = 0; step < 20'000; ++step) {
    Slot& slot = slots[random() % kTimers];
    const auto action = random() % 8;
    if (slot.timer == nullptr) {
      slot.timer = std::make_unique<Timer>(loop_, [&slot] { slot.fired = true; });
    } else if (action == 0) {
      slot.timer.reset();
      slot.due = TimePoint::max();
    } else if (action == 1) {
      slot.timer->disarm();
      slot.due = TimePoint::max();
    } else if (action < 6) {
      slot.due = clock_.now() + milliseconds(1 + random() % 500);
      slot.timer->arm(slot.due);
    } else {
      advance(milliseconds(random() % 20));
      for (Slot& each : slots) {
        ASSERT_EQ(each.fired, each.due <= clock_.now()) << "step " << step;
        if (each.fired) {
          each.fired = false;
          each.due = TimePoint::max();
        }
      }
    }
  }
}

TEST(TimerOnARealClock, WakesASleepingLoop) {
  const SteadyClock clock;
  EventLoop loop(clock);
  const TimePoint start = clock.now();
  TimePoint fired{};
  Timer timer(loop, [&] {
    fired = clock.now();
    loop.stop();
  });
  timer.arm(start + milliseconds(20));
  loop.run();
  EXPECT_GE(fired, start + milliseconds(20));
}

TEST(TimerOnARealClock, WakesForATimerThatWasPostponedAndForOneArmedMeanwhile) {
  const SteadyClock clock;
  EventLoop loop(clock);
  const TimePoint start = clock.now();
  std::vector<int> order;
  Timer postponed(loop, [&] {
    order.push_back(2);
    loop.stop();
  });
  Timer early(loop, [&] { order.push_back(1); });
  postponed.arm(start + milliseconds(5));
  loop.post([&] {
    postponed.arm(start + milliseconds(30));
    early.arm(start + milliseconds(10));
  });
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_GE(clock.now(), start + milliseconds(30));
}

}  // namespace
}  // namespace penstock::net
