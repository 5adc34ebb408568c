#include "model_runtime/runtime.h"

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

#include "tests/model_runtime/runtime_fixture.h"

namespace penstock::runtime {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

TEST_F(RuntimeTest, RunsTheStagesInOrderAndAnswers) {
  model_.in_preprocess = [&](auto& text, auto&) { journal_.note("preprocess " + text); };
  model_.in_predict = [&](auto& text, auto&, std::size_t) { journal_.note("predict " + text); };
  model_.in_postprocess = [&](auto& text, auto&) { journal_.note("postprocess " + text); };
  start();
  submit("a");
  const auto all = ended(1);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kSucceeded);
  EXPECT_EQ(all[0].outcome.output.body, "a");
  EXPECT_THAT(journal_.events(), ElementsAre("preprocess a", "predict a", "postprocess a"));
  EXPECT_EQ(runtime_->inFlight(), 0u);
  EXPECT_EQ(runtime_->gate().permits, 0u);
}

// Waits for the metric to say so; a lane that waits for nothing in particular is told from one that
// waits for preprocess.
TEST_F(RuntimeTest, SaysWhatItsIdleLaneWaitsFor) {
  const auto idle = [this](const std::string& reason) {
    const std::string page = metrics_.render();
    const std::string name = "penstock_gate_idle_seconds_total{reason=\"" + reason + "\"} ";
    const std::size_t at = page.find(name);
    EXPECT_NE(at, std::string::npos);
    return at == std::string::npos ? 0 : std::stod(page.substr(at + name.size()));
  };
  const auto waitFor = [](const auto& condition) {
    while (!condition()) {
      std::this_thread::yield();
    }
  };
  Turnstile preprocess;
  model_.in_preprocess = [&](auto&, auto&) {
    journal_.note("preprocess");
    preprocess.pass();
  };
  start();
  waitFor([&] { return idle("no_request") > 0; });
  EXPECT_EQ(idle("preprocess"), 0);
  submit("a");
  journal_.waitFor(1);
  const double before = idle("no_request");
  waitFor([&] { return idle("preprocess") > 0; });
  EXPECT_EQ(idle("no_request"), before);
  preprocess.letThrough();
  ended(1);
  waitFor([&] { return idle("no_request") > before; });
  EXPECT_GT(idle("hand_over"), 0) << "a thread had to wake up";
}

TEST_F(RuntimeTest, RunsAModelThatHasOnlyPredict) {
  model_.has = {.preprocess = false, .postprocess = false};
  model_.in_preprocess = [&](auto&, auto&) { ADD_FAILURE() << "there is no preprocess"; };
  start();
  submit("a");
  EXPECT_EQ(ended(1)[0].outcome.output.body, "a");
}

// The product's second example: predict concurrency 1, two requests at once. Both preprocess at
// once, predict is one after the other, and the second predict does not wait for the first's
// postprocess.
TEST_F(RuntimeTest, OverlapsEverythingButPredict) {
  Turnstile preprocess, predict, postprocess;
  const auto stand = [&](const char* stage, Turnstile& turnstile) {
    return [this, stage, &turnstile](const std::string& text, const Call&) {
      journal_.note(std::string(stage) + " " + text);
      turnstile.pass();
    };
  };
  model_.in_preprocess = stand("preprocess", preprocess);
  model_.in_predict = [&, stop = stand("predict", predict)](const std::string& text,
                                                            const Call& call,
                                                            std::size_t) { stop(text, call); };
  model_.in_postprocess = stand("postprocess", postprocess);
  start();
  submit("a");
  submit("b");
  journal_.waitFor(2);  // both in preprocess at once
  preprocess.letThrough(2);
  journal_.waitFor(3);
  waitUntilGateHolds(1);
  EXPECT_EQ(journal_.events().size(), 3u) << "only one is in predict";
  predict.letThrough();
  journal_.waitFor(5);  // the second is in predict while the first is in postprocess
  EXPECT_EQ(endedCount(), 0u);
  predict.letThrough();
  journal_.waitFor(6);
  EXPECT_EQ(runtime_->gate().permits, 0u) << "postprocess holds no permit";
  postprocess.letThrough(2);
  ended(2);
}

TEST_F(RuntimeTest, PredictsInTheOrderInWhichPreprocessingEnded) {
  Turnstile predict;
  std::map<std::string, Turnstile> preprocess;
  for (const char* name : {"first", "a", "b", "c"}) {
    preprocess[name];
  }
  model_.in_preprocess = [&](auto& text, auto&) { preprocess[text].pass(); };
  model_.in_predict = [&](auto& text, auto&, std::size_t) {
    journal_.note(text);
    predict.pass();
  };
  start();
  for (const char* name : {"first", "a", "b", "c"}) {
    submit(name);
  }
  preprocess["first"].letThrough();
  journal_.waitFor(1);
  std::size_t waiting = 0;
  for (const char* name : {"c", "a", "b"}) {
    preprocess[name].letThrough();
    waitUntilGateHolds(++waiting);
  }
  predict.letThrough(4);
  ended(4);
  EXPECT_THAT(journal_.events(), ElementsAre("first", "c", "a", "b"));
}

TEST_F(RuntimeTest, NamesADifferentLaneToEachOfThoseInPredict) {
  Turnstile predict;
  model_.in_predict = [&](auto&, auto&, std::size_t lane) {
    journal_.note(std::to_string(lane));
    predict.pass();
  };
  start({.predict_concurrency = 3});
  for (int i = 0; i < 5; ++i) {
    submit("r");
  }
  auto lanes = journal_.waitFor(3);
  waitUntilGateHolds(2);
  EXPECT_THAT(lanes, testing::UnorderedElementsAre("0", "1", "2"));
  predict.letThrough(5);
  ended(5);
}

TEST_F(RuntimeTest, SlowPreprocessingDoesNotDelayAReadyPredict) {
  Turnstile preprocess;
  model_.in_preprocess = [&](auto& text, auto&) {
    if (text == "slow") {
      preprocess.pass();
    }
  };
  model_.in_postprocess = model_.in_preprocess;
  Turnstile predict;
  model_.in_predict = [&](auto& text, auto&, std::size_t) {
    if (text == "quick") {
      journal_.note("predict");
      predict.pass();
    }
  };
  start({.preprocess_threads = 4});
  submit("quick");
  journal_.waitFor(1);
  for (int i = 0; i < 100; ++i) {
    submit("slow");
  }
  predict.letThrough();  // every preprocess thread is taken; this one needs none
  EXPECT_EQ(ended(1)[0].text, "quick");
  preprocess.letThrough(200);
  ended(101);
}

TEST_F(RuntimeTest, AModelsRefusalIsThatRequestsOutcome) {
  start();
  submit("bad");
  const auto all = ended(1);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kModelError);
  EXPECT_EQ(all[0].outcome.stage, Stage::kPreprocess);
  EXPECT_EQ(all[0].outcome.error.kind, ErrorKind::kBadInput);
  EXPECT_EQ(all[0].outcome.error.message, "bad it is");
}

TEST_F(RuntimeTest, ExceptionsEndInAnErrorThatTellsTheClientNothing) {
  const auto fail = [](const std::string& where) {
    return [where](const std::string& text, const Call&) {
      if (text == where) {
        throw std::runtime_error("secret");
      }
    };
  };
  model_.in_preprocess = fail("preprocess");
  model_.in_predict = [&](auto& text, auto&, std::size_t) {
    if (text == "predict") {
      throw 7;
    }
  };
  model_.in_postprocess = fail("postprocess");
  start();
  for (const char* stage : {"preprocess", "predict", "postprocess"}) {
    submit(stage);
  }
  for (const Ended& one : ended(3)) {
    EXPECT_EQ(one.outcome.kind, Outcome::Kind::kModelError);
    EXPECT_EQ(toString(one.outcome.stage), one.text);
    EXPECT_EQ(one.outcome.error.kind, ErrorKind::kInternal);
    EXPECT_THAT(one.outcome.error.message, testing::Not(testing::HasSubstr("secret")));
  }
  submit("fine");
  EXPECT_EQ(ended(4)[3].outcome.kind, Outcome::Kind::kSucceeded) << "the lane came back";
}

TEST_F(RuntimeTest, RefusesBeyondTheMostInFlight) {
  Turnstile predict;
  model_.in_predict = [&](auto&, auto&, std::size_t) { predict.pass(); };
  start({.max_in_flight = 2});
  submit("a");
  submit("b");
  const auto third = runtime_->submit({}, [](Outcome) { ADD_FAILURE() << "not taken"; });
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error(), Runtime::Refusal::kFull);
  predict.letThrough(2);
  ended(2);
  predict.letThrough();
  submit("c");  // the two have left the count before they were reported
  ended(3);
}

TEST_F(RuntimeTest, DrainRefusesAndFinishesWhatRuns) {
  Turnstile predict;
  model_.in_predict = [&](auto&, auto&, std::size_t) { predict.pass(); };
  start();
  submit("a");
  submit("b");
  runtime_->drain();
  const auto late = runtime_->submit({}, [](Outcome) { ADD_FAILURE() << "not taken"; });
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error(), Runtime::Refusal::kDraining);
  EXPECT_FALSE(runtime_->waitUntilIdle(in(milliseconds(1))));
  predict.letThrough(2);
  EXPECT_TRUE(runtime_->waitUntilIdle(Deadline::never()));
  for (const Ended& one : ended(2)) {
    EXPECT_EQ(one.outcome.kind, Outcome::Kind::kSucceeded);
  }
}

TEST_F(RuntimeTest, RefusesAtTheGateBeyondItsBound) {
  Turnstile predict;
  model_.in_predict = [&](auto&, auto&, std::size_t) {
    journal_.note("predict");
    predict.pass();
  };
  start({.max_waiting = 1});
  submit("runs");
  journal_.waitFor(1);
  submit("waits");
  waitUntilGateHolds(1);
  submit("too many");
  const auto all = ended(1);
  EXPECT_EQ(all[0].text, "too many");
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::kGateFull);
  predict.letThrough(2);
  ended(3);
}

TEST_F(RuntimeTest, CountsRequestsByTheStageTheyEndedIn) {
  start();
  submit("good");
  submit("bad");
  ended(2);
  const std::string page = metrics_.render();
  EXPECT_THAT(page, testing::HasSubstr(
                        R"(penstock_requests_total{outcome="succeeded",stage="postprocess"} 1)"));
  EXPECT_THAT(page, testing::HasSubstr(
                        R"(penstock_requests_total{outcome="bad_input",stage="preprocess"} 1)"));
  EXPECT_THAT(page, testing::HasSubstr("penstock_gate_gap_seconds_count 1"));
  EXPECT_THAT(page, testing::HasSubstr("penstock_gate_waiting 0"));
}

// Many threads submit and cancel at random, with deadlines and small bounds, while the model counts
// for itself.
TEST_F(RuntimeTest, KeepsItsPromisesWhileRequestsComeAndGoAtRandom) {
  std::atomic<int> in_predict = 0;
  std::atomic<int> most = 0;
  model_.in_predict = [&](auto&, const Call& call, std::size_t) {
    const int now = ++in_predict;
    int seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    call.token.sleepUntil(clock_.now() + std::chrono::microseconds(50));
    --in_predict;
  };
  start({.predict_concurrency = 2,
         .preprocess_threads = 4,
         .postprocess_threads = 2,
         .max_in_flight = 60,
         .max_waiting = 40,
         .gate_timeout = milliseconds(2)});
  std::atomic<int> accepted = 0;
  std::atomic<int> completed = 0;
  std::vector<std::thread> clients;
  for (unsigned client = 0; client < 3; ++client) {
    clients.emplace_back([&, client] {
      std::minstd_rand random(client + 1);
      std::vector<RequestHandle> handles;
      for (int i = 0; i < 3000; ++i) {
        const Deadline deadline =
            random() % 3 == 0 ? in(std::chrono::microseconds(random() % 3000)) : Deadline::never();
        auto handle = runtime_->submit(
            {.input = {.body = "x", .content_type = ""}, .request_id = "", .deadline = deadline},
            [&](Outcome) { ++completed; });
        if (!handle.has_value()) {
          std::this_thread::yield();
          continue;
        }
        ++accepted;
        handles.push_back(std::move(*handle));
        if (random() % 2 == 0) {
          handles[random() % handles.size()].cancel();
        }
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_TRUE(runtime_->waitUntilIdle(in(std::chrono::seconds(60))));
  EXPECT_EQ(completed, accepted);
  EXPECT_GT(accepted, 100);
  EXPECT_LE(most, 2) << "more in predict than there are lanes";
  EXPECT_EQ(in_predict, 0);
  EXPECT_EQ(runtime_->inFlight(), 0u);
  const PredictGate::Snapshot gate = runtime_->gate();
  EXPECT_EQ(gate.waiting + gate.permits + gate.in_predict, 0u);
}

}  // namespace
}  // namespace penstock::runtime
