#include "net/event_loop.h"

#include <atomic>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/loop_runner.h"

namespace penstock::net {
namespace {

class EventLoopTest : public testing::Test {
 protected:
  SteadyClock clock_;
  EventLoop loop_{clock_};
};

TEST_F(EventLoopTest, RunsWhatWasPostedBeforeItRan) {
  std::vector<int> order;
  loop_.post([&] { order.push_back(1); });
  loop_.post([&] {
    order.push_back(2);
    loop_.stop();
  });
  loop_.run();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, ForgetsNoStopThatCameBeforeItRan) {
  bool ran = false;
  loop_.post([&] { ran = true; });
  loop_.stop();
  loop_.run();
  EXPECT_TRUE(ran);
}

TEST_F(EventLoopTest, KnowsItsOwnThread) {
  EXPECT_FALSE(loop_.inLoopThread());
  bool inside = false;
  bool other = true;
  loop_.post([&] {
    inside = loop_.inLoopThread();
    std::thread([&] { other = loop_.inLoopThread(); }).join();
    loop_.stop();
  });
  loop_.run();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(other);
}

TEST_F(EventLoopTest, LeavesWhatIsPostedByAPostedTaskToTheNextTurn) {
  int turns = 0;
  TimePoint first_turn{};
  Deferred each_turn(loop_, [&] { ++turns; });
  int seen_by_second = -1;
  loop_.post([&] {
    first_turn = loop_.now();
    each_turn.schedule();
    loop_.post([&] {
      seen_by_second = turns;
      loop_.stop();
    });
  });
  loop_.run();
  EXPECT_EQ(seen_by_second, 1);
}

TEST_F(EventLoopTest, DoesNotSleepWhileDeferredWorkDefersItself) {
  int runs = 0;
  std::optional<Deferred> again;
  again.emplace(loop_, [&] {
    if (++runs == 1000) {
      loop_.stop();
    } else {
      again->schedule();
    }
  });
  again->schedule();
  loop_.run();
  EXPECT_EQ(runs, 1000);
}

TEST_F(EventLoopTest, ServesTimersBetweenRoundsOfDeferredWork) {
  bool fired = false;
  std::optional<Deferred> again;
  again.emplace(loop_, [&] { again->schedule(); });
  again->schedule();
  Timer timer(loop_, [&] {
    fired = true;
    loop_.stop();
  });
  timer.armAfter(std::chrono::milliseconds(2));
  loop_.run();
  EXPECT_TRUE(fired);
}

TEST_F(EventLoopTest, RunsDeferredWorkOnceHoweverOftenItIsAskedFor) {
  int runs = 0;
  Deferred work(loop_, [&] { ++runs; });
  loop_.post([&] {
    work.schedule();
    work.schedule();
  });
  work.schedule();
  runTurn(loop_);
  EXPECT_EQ(runs, 1);
  runTurn(loop_);
  EXPECT_EQ(runs, 1);
}

TEST_F(EventLoopTest, RunsNoDeferredWorkThatWasCancelledOrDestroyed) {
  std::vector<std::string> ran;
  auto third = std::make_unique<Deferred>(loop_, [&] { ran.emplace_back("third"); });
  Deferred second(loop_, [&] { ran.emplace_back("second"); });
  Deferred first(loop_, [&] {
    ran.emplace_back("first");
    second.cancel();
    third.reset();
  });
  Deferred fourth(loop_, [&] { ran.emplace_back("fourth"); });
  first.schedule();
  second.schedule();
  third->schedule();
  fourth.schedule();
  runTurn(loop_);
  EXPECT_EQ(ran, (std::vector<std::string>{"first", "fourth"}));
}

TEST_F(EventLoopTest, LetsDeferredWorkDestroyItself) {
  std::unique_ptr<Deferred> work;
  auto token = std::make_shared<int>(7);
  int seen = 0;
  work = std::make_unique<Deferred>(loop_, [&seen, &work, token] {
    work.reset();
    seen = *token;
  });
  work->schedule();
  runTurn(loop_);
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(EventLoopTest, DestroysLaterAtTheEndOfTheTurn) {
  struct Object {
    bool& gone;
    ~Object() { gone = true; }
  };
  bool gone = false;
  bool gone_in_turn = true;
  loop_.post([&] {
    auto object = std::make_unique<Object>(gone);
    loop_.destroyLater(std::move(object));
    gone_in_turn = gone;
    loop_.destroyLater(std::unique_ptr<Object>());
  });
  runTurn(loop_);
  EXPECT_FALSE(gone_in_turn);
  EXPECT_TRUE(gone);
}

TEST_F(EventLoopTest, DestroysWhatADestructorLeavesForLater) {
  struct Inner {
    bool& gone;
    ~Inner() { gone = true; }
  };
  struct Outer {
    EventLoop& loop;
    std::unique_ptr<Inner> inner;
    ~Outer() { loop.destroyLater(std::move(inner)); }
  };
  bool gone = false;
  loop_.post(
      [&] { loop_.destroyLater(std::make_unique<Outer>(loop_, std::make_unique<Inner>(gone))); });
  runTurn(loop_);
  EXPECT_TRUE(gone);
}

TEST_F(EventLoopTest, DestroysUnrunTasksWithTheLoop) {
  auto token = std::make_shared<int>(0);
  bool ran = false;
  {
    EventLoop short_lived(clock_);
    short_lived.post([&ran, token] { ran = true; });
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(EventLoopTest, FreesWhatATaskHoldsAsSoonAsItRan) {
  auto token = std::make_shared<int>(0);
  long held = -1;
  loop_.post([token] {});
  loop_.post([&] { held = token.use_count(); });
  runTurn(loop_);
  EXPECT_EQ(held, 1);
}

TEST_F(EventLoopTest, TellsOneTimeThroughoutATurn) {
  TimePoint first{};
  TimePoint second{};
  loop_.post([&] {
    first = loop_.now();
    while (clock_.now() <= first) {
    }
    second = loop_.now();
    loop_.stop();
  });
  loop_.run();
  EXPECT_EQ(first, second);
  EXPECT_GT(loop_.now(), second);
}

// Each thread waits until its task ran before it posts the next, so one lost wake-up hangs the
// test.
TEST_F(EventLoopTest, LosesNoWakeUp) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 5000;
  std::thread runner([&] { loop_.run(); });
  std::vector<std::thread> posters;
  for (int i = 0; i < kThreads; ++i) {
    posters.emplace_back([&] {
      std::atomic<int> done = 0;
      for (int round = 0; round < kRounds; ++round) {
        loop_.post([&done] {
          done.fetch_add(1);
          done.notify_one();
        });
        done.wait(round);
      }
    });
  }
  for (std::thread& poster : posters) {
    poster.join();
  }
  loop_.stop();
  runner.join();
}

TEST_F(EventLoopTest, KeepsTheOrderOfEachPostingThreadUnderLoad) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 20'000;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  bool ordered = true;
  std::vector<std::thread> posters;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    posters.emplace_back([&, thread] {
      for (int task = 0; task < kTasks; ++task) {
        loop_.post([&, thread, task] {
          ordered = ordered && last[thread] == task - 1;
          last[thread] = task;
          if (++total == kThreads * kTasks) {
            loop_.stop();
          }
        });
      }
    });
  }
  loop_.run();
  for (std::thread& poster : posters) {
    poster.join();
  }
  EXPECT_TRUE(ordered);
  EXPECT_EQ(total, kThreads * kTasks);
}

TEST_F(EventLoopTest, StopsFromAnotherThreadAndRunsAgain) {
  for (int i = 0; i < 200; ++i) {
    bool ran = false;
    std::thread stopper([&] {
      loop_.post([&] { ran = true; });
      loop_.stop();
    });
    loop_.run();
    stopper.join();
    EXPECT_TRUE(ran);
  }
}

TEST_F(EventLoopTest, TellsSignals) {
  int signals = 0;
  SignalWatch watch(loop_, SIGUSR1, [&] {
    ++signals;
    loop_.stop();
  });
  std::raise(SIGUSR1);
  loop_.run();
  EXPECT_EQ(signals, 1);
}

TEST_F(EventLoopTest, LetsASignalWatchDestroyItself) {
  std::unique_ptr<SignalWatch> watch;
  watch = std::make_unique<SignalWatch>(loop_, SIGUSR1, [&] {
    watch.reset();
    loop_.stop();
  });
  std::raise(SIGUSR1);
  loop_.run();
  EXPECT_EQ(watch, nullptr);
}

}  // namespace
}  // namespace penstock::net
