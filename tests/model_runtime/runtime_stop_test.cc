// How requests are stopped on their way: by their client, by their deadline, by the gate's timeout.

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_runtime/runtime.h"
#include "tests/model_runtime/runtime_fixture.h"

namespace penstock::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RuntimeStopTest : public RuntimeTest {
 protected:
  // One request, "first", stands in predict until it is let through.
  void startWithPredictTaken(Runtime::Options options = {}) {
    model_.in_predict = [this](auto& text, auto&, std::size_t) {
      journal_.note("predict " + text);
      predict_.pass();
    };
    start(options);
    submit("first");
    journal_.waitFor(1);
  }

  void expectOnlyTheFirstWasPredicted() {
    predict_.letThrough(10);
    ended(2);
    EXPECT_THAT(journal_.events(), testing::ElementsAre("predict first"));
  }

  Turnstile predict_;
};

TEST_F(RuntimeStopTest, ACancelledWaiterLeavesTheGateAtOnce) {
  startWithPredictTaken();
  RequestHandle waiter = submit("waiter");
  waitUntilGateHolds(1);
  waiter.cancel();
  EXPECT_EQ(runtime_->gate().waiting, 0u);
  const auto all = ended(1);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kCancelled);
  EXPECT_EQ(all[0].outcome.stage, Stage::kGate);
  expectOnlyTheFirstWasPredicted();
}

TEST_F(RuntimeStopTest, ACancelledRequestLeavesThePreprocessQueueAtOnce) {
  Turnstile preprocess;
  model_.in_preprocess = [&](auto& text, auto&) {
    journal_.note(text);
    preprocess.pass();
  };
  start({.preprocess_threads = 1});
  submit("first");
  journal_.waitFor(1);
  RequestHandle waiter = submit("waiter");
  waiter.cancel();
  EXPECT_EQ(ended(1)[0].text, "waiter");
  EXPECT_EQ(ended(1)[0].outcome.stage, Stage::kPreprocess);
  preprocess.letThrough(2);
  ended(2);
  EXPECT_EQ(journal_.events().size(), 1u);
}

TEST_F(RuntimeStopTest, ARunningRequestIsToldAndKeepsItsPlaceUntilItsWorkHasEnded) {
  Turnstile noticed, clean_up;
  model_.in_predict = [&](auto&, const Call& call, std::size_t) {
    journal_.note("predict");
    EXPECT_FALSE(call.token.sleepUntil(clock_.now() + std::chrono::minutes(5)));
    EXPECT_TRUE(call.token.cancelled());
    noticed.letThrough();
    clean_up.pass();
  };
  model_.in_postprocess = [](auto&, auto&) { ADD_FAILURE() << "nobody wants the result"; };
  start();
  RequestHandle running = submit("r");
  journal_.waitFor(1);
  running.cancel();
  running.cancel();
  noticed.pass();
  EXPECT_EQ(runtime_->inFlight(), 1u);
  EXPECT_EQ(runtime_->gate().permits, 1u);
  EXPECT_EQ(endedCount(), 0u);
  clean_up.letThrough();
  const auto all = ended(1);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kCancelled);
  EXPECT_EQ(all[0].outcome.stage, Stage::kPredict);
  running.cancel();  // it has ended: nothing
}

TEST_F(RuntimeStopTest, AWaiterWhoseDeadlinePassesLeavesWithoutPredict) {
  startWithPredictTaken();
  submit("waiter", in(seconds(1)));
  const auto all = ended(1);
  EXPECT_EQ(all[0].text, "waiter");
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kDeadlineExceeded);
  EXPECT_EQ(all[0].outcome.stage, Stage::kGate);
  EXPECT_EQ(runtime_->gate().waiting, 0u);
  expectOnlyTheFirstWasPredicted();
}

TEST_F(RuntimeStopTest, ADeadlineThatHasPassedRunsNothing) {
  model_.in_predict = [](auto&, auto&, std::size_t) { ADD_FAILURE() << "too late to predict"; };
  start();
  submit("late", in(milliseconds(0)));
  EXPECT_EQ(ended(1)[0].outcome.kind, Outcome::Kind::kDeadlineExceeded);
}

TEST_F(RuntimeStopTest, TheDeadlineReachesTheModelInEveryStage) {
  const auto sleepLong = [this](const Call& call) {
    EXPECT_FALSE(call.token.sleepUntil(clock_.now() + std::chrono::minutes(5)));
  };
  const auto sleepIn = [&](const std::string& where) {
    return [where, sleepLong](const std::string& text, const Call& call) {
      if (text == where) {
        sleepLong(call);
      }
    };
  };
  model_.in_preprocess = sleepIn("preprocess");
  model_.in_predict = [&](auto& text, const Call& call, std::size_t) {
    sleepIn("predict")(text, call);
  };
  model_.in_postprocess = sleepIn("postprocess");
  start({.predict_concurrency = 2});
  for (const char* stage : {"preprocess", "predict", "postprocess"}) {
    submit(stage, in(milliseconds(1500)));
  }
  for (const Ended& one : ended(3)) {
    EXPECT_EQ(one.outcome.kind, Outcome::Kind::kDeadlineExceeded);
    EXPECT_EQ(toString(one.outcome.stage), one.text);
  }
}

TEST_F(RuntimeStopTest, TheGateIsWaitedAtNoLongerThanItsTimeout) {
  startWithPredictTaken({.gate_timeout = milliseconds(10)});
  submit("waiter", in(std::chrono::minutes(5)));
  const auto all = ended(1);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kGateTimeout);
  expectOnlyTheFirstWasPredicted();
}

TEST_F(RuntimeStopTest, TheDeadlineStillHoldsAfterTheGatesTimeout) {
  model_.in_predict = [this](auto& text, const Call& call, std::size_t) {
    journal_.note(text);
    if (text == "first") {
      predict_.pass();
    } else {
      EXPECT_FALSE(call.token.sleepUntil(clock_.now() + std::chrono::minutes(5)));
    }
  };
  start({.gate_timeout = seconds(2)});
  submit("first");
  journal_.waitFor(1);
  submit("second", in(seconds(3)));
  waitUntilGateHolds(1);
  predict_.letThrough();
  const auto all = ended(2);
  EXPECT_EQ(all[1].text, "second");
  EXPECT_EQ(all[1].outcome.kind, Outcome::Kind::kDeadlineExceeded);
  EXPECT_EQ(all[1].outcome.stage, Stage::kPredict);
}

TEST_F(RuntimeStopTest, OneOfAThousandWaitersLeavesAndTheRestKeepTheirOrder) {
  model_.in_predict = [this](auto& text, auto&, std::size_t) {
    journal_.note(text);
    if (text == "first") {
      predict_.pass();
    }
  };
  start({.max_in_flight = 2000});
  submit("first");
  journal_.waitFor(1);
  std::vector<RequestHandle> waiters;
  std::vector<std::string> expected{"first"};
  for (int i = 0; i < 1000; ++i) {
    waiters.push_back(submit(std::to_string(i)));
    waitUntilGateHolds(static_cast<std::size_t>(i) + 1);
    if (i != 500) {
      expected.push_back(std::to_string(i));
    }
  }
  waiters[500].cancel();
  predict_.letThrough();
  ended(1001);
  EXPECT_EQ(journal_.events(), expected);
}

TEST_F(RuntimeStopTest, WhatTheModelKeepsLongAfterItsDeadlineIsToldOfOnce) {
  Turnstile preprocess;
  model_.in_preprocess = [&](auto& text, auto&) {
    if (text == "stuck") {
      preprocess.pass();
    }
  };
  startWithPredictTaken({.hang_timeout = milliseconds(20), .on_hang = [this](std::string_view why) {
                           journal_.note(std::string(why));
                         }});
  submit("stuck", in(seconds(2)));
  EXPECT_THAT(journal_.waitFor(2),
              testing::ElementsAre("predict first",
                                   "a request has not come back from the model's preprocess, long "
                                   "after its deadline: stuck"));
  preprocess.letThrough();
  EXPECT_EQ(ended(1)[0].outcome.kind, Outcome::Kind::kDeadlineExceeded);
  predict_.letThrough();
  ended(2);
  EXPECT_EQ(journal_.events().size(), 2u);
}

}  // namespace
}  // namespace penstock::runtime
