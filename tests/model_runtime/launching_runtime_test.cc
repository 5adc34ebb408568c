// A runtime with a model whose predict is launched, waited for and collected, with and without
// running ahead.

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/launching_fixture.h"

namespace penstock::runtime {
namespace {

using testing::ElementsAre;

TEST_F(LaunchingRuntimeTest, WithoutRunningAheadTheNextIsLaunchedWhenTheLaneIsFree) {
  noteSteps();
  startLaunching(0);
  submit("a");
  submit("b");
  waitUntilGateHolds(1);
  EXPECT_THAT(journal_.waitFor(1), ElementsAre("launch a"));
  device_.letThrough(2);
  ended(2);
  const auto events = journal_.events();
  EXPECT_LT(std::ranges::find(events, "end a"), std::ranges::find(events, "launch b"));
}

TEST_F(LaunchingRuntimeTest, RunningAheadTheNextIsLaunchedBehindTheOneThatRuns) {
  noteSteps();
  startLaunching(1);
  submit("a");
  submit("b");
  submit("c");
  EXPECT_THAT(journal_.waitFor(2), ElementsAre("launch a", "launch b"));
  waitUntilGateHolds(2);  // it has no permit yet
  waitUntilOneIsInPredict();
  EXPECT_EQ(runtime_->gate().permits, 1u);
  device_.letThrough();
  // Only now may there be another behind the one that runs.
  const auto events = journal_.waitFor(5);
  EXPECT_LT(std::ranges::find(events, "end a"), std::ranges::find(events, "launch c"));
  device_.letThrough(2);
  const auto all = ended(3);
  for (const Ended& one : all) {
    EXPECT_EQ(one.outcome.kind, Outcome::Kind::kSucceeded);
    EXPECT_EQ(one.outcome.output.body, one.text);
  }
  EXPECT_EQ(runtime_->gate().permits, 0u);
}

// The usual case: what is next becomes ready while the one before runs.
TEST_F(LaunchingRuntimeTest, WhoComesWhileOneRunsIsLaunchedAtOnce) {
  noteSteps();
  startLaunching(1);
  submit("a");
  journal_.waitFor(1);
  waitUntilOneIsInPredict();
  submit("b");
  EXPECT_THAT(journal_.waitFor(2), ElementsAre("launch a", "launch b"));
  device_.letThrough(2);
  ended(2);
}

TEST_F(LaunchingRuntimeTest, WhatIsLaunchedRunsToItsEndThoughNobodyWantsIt) {
  noteSteps();
  startLaunching(1);
  submit("a");
  RequestHandle launched = submit("b");
  journal_.waitFor(2);
  RequestHandle waiting = submit("c");
  waitUntilGateHolds(2);
  launched.cancel();
  waiting.cancel();
  EXPECT_EQ(ended(1)[0].text, "c") << "only who has not been launched leaves at once";
  EXPECT_EQ(runtime_->inFlight(), 2u);
  device_.letThrough(2);
  const auto all = ended(3);
  EXPECT_EQ(all[1].text == "b" ? all[1].outcome.kind : all[2].outcome.kind,
            Outcome::Kind::kCancelled);
  const auto events = journal_.events();
  EXPECT_THAT(events, testing::Contains("end b"));
  EXPECT_THAT(events, testing::Not(testing::Contains("collect b")));
  EXPECT_THAT(events, testing::Not(testing::Contains("launch c")));
}

TEST_F(LaunchingRuntimeTest, ALaunchThatFailsHasItsErrorAndTheNextRuns) {
  for (const std::size_t run_ahead : {0, 1}) {
    SCOPED_TRACE(run_ahead);
    ended_.clear();
    startLaunching(run_ahead);
    submit("a");
    submit("no memory 1");
    submit("no memory 2");
    submit("fails");
    submit("b");
    const auto all = ended(5);
    std::map<std::string, Outcome> by_text;
    for (const Ended& one : all) {
      by_text[one.text] = one.outcome;
    }
    EXPECT_EQ(by_text["a"].kind, Outcome::Kind::kSucceeded);
    EXPECT_EQ(by_text["no memory 1"].error.kind, ErrorKind::kOutOfDeviceMemory);
    EXPECT_EQ(by_text["no memory 2"].error.kind, ErrorKind::kOutOfDeviceMemory);
    EXPECT_EQ(by_text["fails"].error.kind, ErrorKind::kInternal);
    EXPECT_EQ(by_text["b"].kind, Outcome::Kind::kSucceeded);
    EXPECT_EQ(runtime_->gate().permits, 0u);
  }
}

TEST_F(LaunchingRuntimeTest, AnExceptionIsAnErrorOfThatRequestOnly) {
  launches_.in_launch = [](auto& text) {
    if (text == "throws") {
      throw std::runtime_error("on purpose");
    }
  };
  startLaunching(1);
  submit("throws");
  submit("a");
  for (const Ended& one : ended(2)) {
    EXPECT_EQ(one.outcome.kind,
              one.text == "a" ? Outcome::Kind::kSucceeded : Outcome::Kind::kModelError);
  }
}

TEST_F(LaunchingRuntimeTest, LaunchesOnEachLaneWithoutRunningAhead) {
  noteSteps();
  startLaunching(0, 2);
  submit("a");
  submit("b");
  submit("c");
  journal_.waitFor(2);
  waitUntilGateHolds(1);
  EXPECT_EQ(runtime_->gate().in_predict, 2u);
  device_.letThrough(3);
  ended(3);
}

// Its deadline passes, but it is the one in front of it that does not end.
TEST_F(LaunchingRuntimeTest, WhoStandsBehindOneThatHangsDoesNotHang) {
  noteSteps();
  Journal hangs;
  runtime_ = std::make_unique<Runtime>(
      launches_, clock_, logger_, metrics_,
      Runtime::Options{.run_ahead = 1,
                       .hang_timeout = std::chrono::milliseconds(20),
                       .on_hang = [&](std::string_view why) { hangs.note(std::string(why)); }});
  submit("a", in(std::chrono::seconds(2)));
  submit("b", in(std::chrono::seconds(1)));
  journal_.waitFor(2);
  EXPECT_THAT(hangs.waitFor(1)[0],
              testing::EndsWith("model's predict, long after its deadline: a"));
  device_.letThrough(2);
  ended(2);
}

// Many requests from several threads, some cancelled at any moment, on a lane that runs ahead. The
// device is a queue of its own: it is never launched on by two at once, ends are in the order of
// the launches, and at most two are on it.
TEST_F(LaunchingRuntimeTest, KeepsTheDevicesOrderThroughRandomCancelling) {
  std::mutex mutex;
  std::vector<std::string> on_device;
  std::size_t most = 0;
  launches_.in_launch = [&](auto& text) {
    std::lock_guard lock(mutex);
    on_device.push_back(text);
    most = std::max(most, on_device.size());
  };
  launches_.in_finish = [&](auto& text) {
    std::lock_guard lock(mutex);
    ASSERT_FALSE(on_device.empty());
    EXPECT_EQ(on_device.front(), text);
    on_device.erase(on_device.begin());
  };
  startLaunching(1);
  submitAndLeaveAtRandom(3000);
  EXPECT_TRUE(on_device.empty());
  EXPECT_LE(most, 2u);
}

}  // namespace
}  // namespace penstock::runtime
