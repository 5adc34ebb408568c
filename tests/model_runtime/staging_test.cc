// What happens to a request that is next in line before it has a lane.

#include <algorithm>
#include <atomic>
#include <map>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/launching_fixture.h"

namespace penstock::runtime {
namespace {

using testing::ElementsAre;

using StagingTest = LaunchingRuntimeTest;

TEST_F(StagingTest, WhoIsNextInLineIsStagedWhileOneRuns) {
  noteSteps();
  noteStaging();
  startLaunching(0);
  submit("a");
  EXPECT_THAT(journal_.waitFor(1), ElementsAre("launch a")) << "it has its lane at once";
  submit("b");
  submit("c");
  waitUntilGateHolds(2);
  staging_.letThrough();
  EXPECT_THAT(journal_.waitFor(3), ElementsAre("launch a", "stage b", "staged b"));
  device_.letThrough();
  const auto events = journal_.waitFor(6);
  EXPECT_LT(std::ranges::find(events, "end a"), std::ranges::find(events, "launch b"));
  EXPECT_LT(std::ranges::find(events, "launch b"), std::ranges::find(events, "stage c"));
  staging_.letThrough();
  device_.letThrough(2);
  for (const Ended& one : ended(3)) {
    EXPECT_EQ(one.outcome.kind, Outcome::Kind::kSucceeded);
  }
}

TEST_F(StagingTest, RunningAheadNobodyIsStaged) {
  noteSteps();
  noteStaging();
  startLaunching(1);
  for (const char* text : {"a", "b", "c"}) {
    submit(text);
  }
  waitUntilGateHolds(2);
  device_.letThrough(3);
  ended(3);
  EXPECT_THAT(journal_.events(), testing::Not(testing::Contains(testing::StartsWith("stage"))));
}

TEST_F(StagingTest, ALaneWaitsForItsRequestsStaging) {
  noteSteps();
  noteStaging();
  startLaunching(0);
  submit("a");
  journal_.waitFor(1);
  submit("b");
  journal_.waitFor(2);
  device_.letThrough(2);
  ended(1);
  EXPECT_EQ(runtime_->gate().permits, 1u);
  EXPECT_EQ(runtime_->gate().in_predict, 0u) << "the GPU has nothing to do yet";
  EXPECT_THAT(journal_.events(), testing::Not(testing::Contains("launch b")));
  staging_.letThrough();
  ended(2);
  const auto events = journal_.events();
  EXPECT_LT(std::ranges::find(events, "staged b"), std::ranges::find(events, "launch b"));
}

TEST_F(StagingTest, WhoLeavesWhileItIsStagedIsGoneWhenThatIsDone) {
  noteSteps();
  noteStaging();
  startLaunching(0);
  submit("a");
  journal_.waitFor(1);
  RequestHandle leaving = submit("b");
  submit("c");
  waitUntilGateHolds(2);
  journal_.waitFor(2);
  leaving.cancel();
  waitUntilGateHolds(1);
  EXPECT_EQ(endedCount(), 0u) << "the model has its state";
  staging_.letThrough();
  EXPECT_EQ(ended(1)[0].outcome.kind, Outcome::Kind::kCancelled);
  EXPECT_THAT(journal_.waitFor(4), ElementsAre("launch a", "stage b", "staged b", "stage c"));
  staging_.letThrough();
  device_.letThrough(2);
  ended(3);
  EXPECT_THAT(journal_.events(), testing::Not(testing::Contains("launch b")));
}

TEST_F(StagingTest, WhoWaitsTooLongAlthoughItIsStagedIsNotLaunched) {
  noteSteps();
  noteStaging();
  staging_.letThrough(100);
  for (const bool gate_timeout : {false, true}) {
    SCOPED_TRACE(gate_timeout);
    ended_.clear();
    const Duration short_time = std::chrono::milliseconds(500);
    startLaunching(0, 1, gate_timeout ? short_time : std::chrono::seconds(600));
    submit("a");
    submit("b", gate_timeout ? Deadline::never() : in(short_time));
    EXPECT_EQ(ended(1)[0].outcome.kind,
              gate_timeout ? Outcome::Kind::kGateTimeout : Outcome::Kind::kDeadlineExceeded);
    device_.letThrough();
    ended(2);
    EXPECT_THAT(journal_.events(), testing::Not(testing::Contains("launch b")));
  }
}

TEST_F(StagingTest, AStagingThatFailsOrThrowsIsThatRequestsError) {
  launches_.in_finish = [this](auto&) { device_.pass(); };
  launches_.in_stage = [](auto& text) {
    if (text == "throws") {
      throw std::runtime_error("on purpose");
    }
  };
  startLaunching(0);
  for (const auto& [bad, error] : {std::pair("no room", ErrorKind::kOutOfDeviceMemory),
                                   std::pair("throws", ErrorKind::kInternal)}) {
    ended_.clear();
    for (const char* text : {"a", bad, "b"}) {
      submit(text);
    }
    waitUntilGateHolds(2);
    device_.letThrough(2);
    std::map<std::string, Outcome> by_text;
    for (const Ended& one : ended(3)) {
      by_text[one.text] = one.outcome;
    }
    EXPECT_EQ(by_text[bad].error.kind, error);
    EXPECT_EQ(by_text["a"].kind, Outcome::Kind::kSucceeded);
    EXPECT_EQ(by_text["b"].kind, Outcome::Kind::kSucceeded);
    EXPECT_EQ(runtime_->gate().permits, 0u);
  }
}

// On two lanes nobody is staged twice or after its launch. What of a request is touched by two
// threads at once is for the sanitizers to find.
TEST_F(StagingTest, StagesNextInLineThroughRandomCancelling) {
  constexpr int kRequests = 3000;
  std::mutex mutex;
  std::map<std::string, bool> launched;  // of those staged
  std::atomic<int> staged{0};
  launches_.in_stage = [&](auto& text) {
    std::lock_guard lock(mutex);
    EXPECT_TRUE(launched.emplace(text, false).second) << text;
    ++staged;
  };
  launches_.in_launch = [&](auto& text) {
    std::lock_guard lock(mutex);
    launched[text] = true;
  };
  startLaunching(0, 2);
  submitAndLeaveAtRandom(kRequests);
  EXPECT_GT(staged, kRequests / 100);
}

}  // namespace
}  // namespace penstock::runtime
