#include "model_runtime/deadline_timer.h"

#include <atomic>
#include <future>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

namespace penstock::runtime {
namespace {

using std::chrono::milliseconds;

struct Alarm final : DeadlineTimer::Entry {
  void onDue() override {
    at = std::chrono::steady_clock::now();
    if (++rings == 1) {
      rang.set_value();
    }
  }
  std::atomic<int> rings = 0;
  TimePoint at;
  std::promise<void> rang;
};

Deadline in(Duration time) {
  return Deadline::after(std::chrono::steady_clock::now(), time);
}

TEST(DeadlineTimer, CallsBackWhenTheTimeHasCome) {
  DeadlineTimer timer;
  auto alarm = std::make_shared<Alarm>();
  const Deadline when = in(milliseconds(5));
  timer.set(alarm, when);
  alarm->rang.get_future().wait();
  EXPECT_GE(alarm->at, when.when());
}

TEST(DeadlineTimer, CallsTheEarlierFirstWhicheverWasSetFirst) {
  DeadlineTimer timer;
  auto late = std::make_shared<Alarm>();
  auto early = std::make_shared<Alarm>();
  timer.set(late, in(std::chrono::hours(1)));
  timer.set(early, in(milliseconds(5)));
  early->rang.get_future().wait();
  EXPECT_EQ(late->rings, 0);
}

TEST(DeadlineTimer, CallsOnceForTheLastTimeSetAndNotWhenCleared) {
  DeadlineTimer timer;
  auto moved = std::make_shared<Alarm>();
  auto cleared = std::make_shared<Alarm>();
  timer.set(moved, in(std::chrono::hours(1)));
  timer.set(cleared, in(milliseconds(1000)));
  timer.clear(cleared);
  timer.set(moved, in(milliseconds(1010)));
  moved->rang.get_future().wait();
  timer.stop();
  EXPECT_EQ(moved->rings, 1);
  EXPECT_EQ(cleared->rings, 0);
}

TEST(DeadlineTimer, LetsGoOfWhatItCalled) {
  DeadlineTimer timer;
  auto alarm = std::make_shared<Alarm>();
  auto rang = alarm->rang.get_future();
  std::weak_ptr<Alarm> watched = alarm;
  timer.set(std::exchange(alarm, nullptr), in(milliseconds(1)));
  rang.wait();
  timer.stop();
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace penstock::runtime
