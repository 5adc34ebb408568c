// A runtime with a model whose predict is launched, waited for and collected, with and without
// running ahead. The device is a script: launches are noted, and end when the test says so.

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_runtime/launching_model.h"
#include "tests/model_runtime/runtime_fixture.h"

namespace penstock::runtime {
namespace {

using testing::ElementsAre;

class ScriptedLaunches final : public LaunchingModel {
 public:
  using Step = std::function<void(const std::string&)>;
  Step in_stage = [](const std::string&) {};
  Step in_launch = [](const std::string&) {};
  Step in_finish = [](const std::string&) {};
  Step in_collect = [](const std::string&) {};

  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call&) override {
    return std::make_unique<TextState>(std::move(input.body));
  }
  ModelResult<void> stage(State& state, const Call&) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_stage(text);
    if (text.starts_with("no room")) {
      return modelFailure(ErrorKind::kOutOfDeviceMemory, "no room");
    }
    return {};
  }
  ModelResult<void> launch(State& state, const Call&, std::size_t) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_launch(text);
    if (text.starts_with("no memory")) {
      return modelFailure(ErrorKind::kOutOfDeviceMemory, "no memory");
    }
    return {};
  }
  ModelResult<void> finish(State& state, const Call&, std::size_t) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_finish(text);
    if (text.starts_with("fails")) {
      return modelFailure(ErrorKind::kInternal, "it failed");
    }
    return {};
  }
  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state, const Call&) override {
    in_collect(static_cast<TextState&>(*state).text);
    return state;
  }
  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call&) override {
    return Output{.content_type = "text/plain", .body = static_cast<TextState&>(*state).text};
  }
};

class LaunchingRuntimeTest : public RuntimeTest {
 protected:
  void startLaunching(std::size_t run_ahead, std::size_t lanes = 1,
                      Duration gate_timeout = std::chrono::seconds(600)) {
    runtime_ = std::make_unique<Runtime>(launches_, clock_, logger_, metrics_,
                                         Runtime::Options{.predict_concurrency = lanes,
                                                          .run_ahead = run_ahead,
                                                          .preprocess_threads = 1,
                                                          .gate_timeout = gate_timeout});
  }
  // A request's staging too, which waits for another turnstile.
  void noteStaging() {
    launches_.in_stage = [this](auto& text) {
      journal_.note("stage " + text);
      staging_.pass();
      journal_.note("staged " + text);
    };
  }
  // Every step is noted; a request's end on the device waits for the turnstile.
  void noteSteps() {
    launches_.in_launch = [this](auto& text) { journal_.note("launch " + text); };
    launches_.in_finish = [this](auto& text) {
      device_.pass();
      journal_.note("end " + text);
    };
    launches_.in_collect = [this](auto& text) { journal_.note("collect " + text); };
  }

  void waitUntilOneIsInPredict() {
    while (runtime_->gate().in_predict != 1) {
      std::this_thread::yield();
    }
  }

  ScriptedLaunches launches_;
  Turnstile device_;
  Turnstile staging_;

  // After what it uses, so that it ends first.
  struct Ender {
    std::unique_ptr<Runtime>& runtime;
    ~Ender() { runtime.reset(); }
  } ender_{runtime_};
};

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

TEST_F(LaunchingRuntimeTest, WhoIsNextInLineIsStagedWhileOneRuns) {
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

TEST_F(LaunchingRuntimeTest, RunningAheadNobodyIsStaged) {
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

TEST_F(LaunchingRuntimeTest, ALaneWaitsForItsRequestsStaging) {
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

TEST_F(LaunchingRuntimeTest, WhoLeavesWhileItIsStagedIsGoneWhenThatIsDone) {
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

TEST_F(LaunchingRuntimeTest, WhoWaitsTooLongAlthoughItIsStagedIsNotLaunched) {
  noteSteps();
  noteStaging();
  staging_.letThrough(100);
  for (const bool gate_timeout : {false, true}) {
    SCOPED_TRACE(gate_timeout);
    ended_.clear();
    const Duration short_time = std::chrono::milliseconds(20);
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

TEST_F(LaunchingRuntimeTest, AStagingThatFailsOrThrowsIsThatRequestsError) {
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

// Many requests from several threads, some cancelled at any moment, on two lanes. Nobody is staged
// twice or after its launch, and not more than two are staged and not launched; what of a request
// is touched by two threads at once is for the sanitizers to find.
TEST_F(LaunchingRuntimeTest, StagesNextInLineThroughRandomCancelling) {
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
  std::vector<std::thread> clients;
  for (int client = 0; client < 3; ++client) {
    clients.emplace_back([this, client] {
      std::mt19937 random(static_cast<unsigned>(client));
      for (int i = 0; i < kRequests / 3; ++i) {
        auto handle = submit(
            std::to_string(client) + "." + std::to_string(i),
            random() % 8 == 0 ? in(std::chrono::microseconds(random() % 200)) : Deadline::never());
        if (random() % 3 == 0) {
          handle.cancel();
        }
        while (runtime_->inFlight() > 20) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(ended(kRequests).size(), static_cast<std::size_t>(kRequests));
  EXPECT_TRUE(runtime_->waitUntilIdle(in(std::chrono::seconds(30))));
  EXPECT_GT(staged, kRequests / 100);
  EXPECT_EQ(runtime_->gate().permits, 0u);
  EXPECT_EQ(runtime_->gate().waiting, 0u);
}

// Many requests from several threads, some cancelled at any moment, on a lane that runs ahead. The
// device is a queue of its own: it is never launched on by two at once, ends are in the order of
// the launches, and at most two are on it.
TEST_F(LaunchingRuntimeTest, KeepsTheDevicesOrderThroughRandomCancelling) {
  constexpr int kRequests = 3000;
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
  std::vector<std::thread> clients;
  for (int client = 0; client < 3; ++client) {
    clients.emplace_back([this, client] {
      std::mt19937 random(static_cast<unsigned>(client));
      for (int i = 0; i < kRequests / 3; ++i) {
        auto handle = submit(std::to_string(client) + "." + std::to_string(i));
        if (random() % 3 == 0) {
          handle.cancel();
        }
        while (runtime_->inFlight() > 20) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(ended(kRequests).size(), static_cast<std::size_t>(kRequests));
  EXPECT_TRUE(runtime_->waitUntilIdle(in(std::chrono::seconds(30))));
  EXPECT_TRUE(on_device.empty());
  EXPECT_LE(most, 2u);
  EXPECT_EQ(runtime_->gate().permits, 0u);
  EXPECT_EQ(runtime_->gate().waiting, 0u);
}

}  // namespace
}  // namespace penstock::runtime
