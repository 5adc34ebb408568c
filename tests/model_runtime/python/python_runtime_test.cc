// The way of requests through the Python runtime, with a worker that does as it is told.

#include "model_runtime/python/python_runtime.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/python/python_runtime_fixture.h"

namespace penstock::runtime {
namespace {

using End = PythonRuntime::End;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// For an idle worker, however busy the machine is.
constexpr seconds kEnoughToStart{1};

constexpr char kPlain[] = R"([["await","go"],["started"],["ended"],["done",0,0,200,"hi"]])";
constexpr char kUntilPoked[] =
    R"([["await","go"],["started"],["await","message"],["ended"],["done",0,0,200,"hi"]])";
constexpr char kUntilCancelled[] =
    R"([["await","go"],["started"],["await","cancel"],["ended"],["done",3]])";

TEST_F(PythonRuntimeTest, RunsARequest) {
  start();
  Heard heard;
  submit(heard, R"([["await","go"],["started"],["ended"],
                    ["done",0,0,201,"hello",[["content-type","text/plain"]]]])");
  EXPECT_EQ(runtime_->inFlight(), 1u);
  runUntilOver(heard);
  EXPECT_EQ(heard.status, 201);
  EXPECT_EQ(heard.body, "hello");
  EXPECT_THAT(heard.fields, ElementsAre(Pair("content-type", "text/plain")));
  EXPECT_EQ(runtime_->inFlight(), 0u);
  EXPECT_EQ(metric("penstock_gate_in_predict"), 0);
  EXPECT_EQ(metric("penstock_gate_gap_seconds_count"), 1);
}

TEST_F(PythonRuntimeTest, PreprocessComesBeforeTheGate) {
  start(kWithPreprocess, {.preprocess_threads = 1});
  Heard first, second;
  submit(first, R"([["await","message"],["ready"],["await","go"],["started"],["ended"],["done"]])");
  submit(second, R"([["ready"],["await","go"],["started"],["ended"],["order"]])");
  net::runTurn(loop_);
  EXPECT_EQ(metric("penstock_gate_waiting"), 0);
  poke(first);
  runUntilOver(second);
  EXPECT_EQ(second.body, "[1, 2]");
  runUntilOver(first);
}

class PythonIdleTest : public PythonRuntimeTest {
 protected:
  using Reason = LaneIdle::Reason;

  Duration of(Reason reason) const { return runtime_->idle()[static_cast<std::size_t>(reason)]; }
  // The lanes' time goes by for that reason, and for no other.
  void expectOnly(Reason reason) {
    const LaneIdle::Totals before = runtime_->idle();
    runUntil([&] { return of(reason) > before[static_cast<std::size_t>(reason)]; });
    for (const Reason other : {Reason::kNoRequest, Reason::kPreprocess, Reason::kHandOver}) {
      if (other != reason) {
        EXPECT_EQ(of(other), before[static_cast<std::size_t>(other)]);
      }
    }
  }
};

TEST_F(PythonIdleTest, SaysWhatItsLaneWaitsFor) {
  start(kWithPreprocess);
  expectOnly(Reason::kNoRequest);
  Heard heard;
  submit(heard, R"([["await","message"],["ready"],["await","go"],["await","message"],["started"],
                    ["await","message"],["ended"],["await","message"],["done",0,0,200,"hi"]])");
  expectOnly(Reason::kPreprocess);
  poke(heard);
  runUntil([this] { return runtime_->gate().permits == 1; });
  expectOnly(Reason::kHandOver);
  poke(heard);
  runUntil([this] { return runtime_->gate().in_predict == 1; });
  const LaneIdle::Totals before = runtime_->idle();
  const Duration busy = runtime_->gate().busy;
  runUntil([&] { return runtime_->gate().busy > busy; });
  EXPECT_EQ(runtime_->idle(), before);
  poke(heard);
  runUntil([this] { return runtime_->gate().in_predict == 0; });
  expectOnly(Reason::kNoRequest);
  poke(heard);
  runUntilOver(heard);
}

TEST_F(PythonIdleTest, WhoWaitsForPreprocessCountsAsInIt) {
  start(kWithPreprocess, {.predict_concurrency = 2, .preprocess_threads = 1});
  Heard first, second;
  submit(first, R"([["await","message"],["ready"],["await","go"],["started"],["ended"],["done"]])");
  submit(second, R"([["ready"],["await","go"],["started"],["ended"],["done"]])");
  expectOnly(Reason::kPreprocess);
  poke(first);
  runUntilOver(first);
  runUntilOver(second);
}

TEST_F(PythonIdleTest, AWorkerFromTheFutureSpoilsNoFigure) {
  start();
  Heard heard;
  submit(heard, R"([["await","go"],["started",3600],["ended"],["done",0,0,200,"hi"]])");
  runUntilOver(heard);
  expectOnly(Reason::kNoRequest);
  EXPECT_GE(runtime_->gate().busy, Duration::zero());
}

TEST_F(PythonRuntimeTest, StartsInTheOrderOfTheGateAndNoMoreThanTheLimit) {
  start();
  std::vector<std::unique_ptr<Heard>> all;
  Heard first;
  submit(first, kUntilPoked);
  for (int i = 0; i < 40; ++i) {
    submit(*all.emplace_back(std::make_unique<Heard>()), kPlain);
  }
  Heard last;
  submit(last, R"([["await","go"],["started"],["ended"],["order"]])");
  runUntil([this] { return metric("penstock_gate_in_predict") == 1; });
  EXPECT_EQ(metric("penstock_gate_waiting"), 41);
  poke(first);
  runUntilOver(last);
  std::string expected = "[1";
  for (int id = 2; id <= 42; ++id) {
    expected += ", " + std::to_string(id);
  }
  EXPECT_EQ(last.body, expected + "]");
}

TEST_F(PythonRuntimeTest, LargeBodiesGoByDescriptorBothWays) {
  start();
  Heard heard;
  std::string script = R"([["await","go"],["started"],["ended"],["long_done",3000000]])";
  script += std::string(200'000, ' ');
  script.insert(1, R"(["ready"],)");
  submit(heard, script);
  runUntilOver(heard);
  EXPECT_EQ(heard.status, 200);
  EXPECT_EQ(heard.body, std::string(3'000'000, 'x'));
}

TEST_F(PythonRuntimeTest, StreamsAndTellsAnAbortFromAnEnd) {
  start();
  Heard whole, cut;
  submit(
      whole,
      R"([["await","go"],["started"],["head"],["chunk","a"],["chunk","b"],["ended"],["done",1]])");
  submit(cut, R"([["await","go"],["started"],["head"],["chunk","c"],["ended"],["done",2]])");
  runUntilOver(whole);
  runUntilOver(cut);
  EXPECT_EQ(whole.body, "ab");
  EXPECT_EQ(whole.end, End::kFinished);
  EXPECT_EQ(cut.body, "c");
  EXPECT_EQ(cut.end, End::kAborted);
}

TEST_F(PythonRuntimeTest, WhoWaitsAndIsCancelledIsGone) {
  start(kNoPreprocess, {.max_waiting = 30});
  Heard running;
  submit(running, kUntilPoked);
  std::vector<std::unique_ptr<Heard>> waiting;
  for (int i = 0; i < 30; ++i) {
    submit(*waiting.emplace_back(std::make_unique<Heard>()), R"([["await","cancel"],["done",5]])");
  }
  Heard too_many;
  submit(too_many, kPlain);
  runUntilOver(too_many);
  EXPECT_EQ(too_many.end, End::kGateFull);
  // Those that the worker knows of answer for themselves; the rest ends here.
  for (const auto& heard : waiting) {
    runtime_->cancel(heard->id);
    EXPECT_FALSE(heard->over()) << "heard inside its own call";
  }
  runUntil([&] { return std::ranges::all_of(waiting, [](const auto& h) { return h->over(); }); });
  for (const auto& heard : waiting) {
    EXPECT_EQ(heard->end, End::kCancelled);
  }
  poke(running);
  runUntilOver(running);
  EXPECT_EQ(running.status, 200);
}

TEST_F(PythonRuntimeTest, WhatRunsAndIsCancelledEndsWhenItsWorkDoes) {
  start();
  Heard heard, next;
  submit(heard, kUntilCancelled);
  submit(next, kPlain);
  runUntil([this] { return metric("penstock_gate_in_predict") == 1; });
  EXPECT_FALSE(next.over());
  runtime_->cancel(heard.id);
  runUntilOver(heard);
  runUntilOver(next);
  EXPECT_EQ(heard.end, End::kCancelled);
  EXPECT_EQ(next.status, 200);
}

TEST_F(PythonRuntimeTest, TheDeadlineCancelsWhatRuns) {
  start();
  Heard heard;
  submit(heard, kUntilCancelled, in(kEnoughToStart));
  runUntil([this] { return metric("penstock_gate_in_predict") == 1; });
  runUntilOver(heard);
  EXPECT_EQ(heard.end, End::kDeadlineExceeded);
}

TEST_F(PythonRuntimeTest, TheGateHasATimeoutOfItsOwn) {
  start(kNoPreprocess, {.gate_timeout = kEnoughToStart});
  Heard running, waiting;
  submit(running, kUntilPoked);
  runUntil([this] { return metric("penstock_gate_in_predict") == 1; });
  submit(waiting, R"([["await","cancel"],["done",5]])");
  runUntilOver(waiting);
  EXPECT_EQ(waiting.end, End::kGateTimeout);
  poke(running);
  runUntilOver(running);
  EXPECT_EQ(running.status, 200);
}

TEST_F(PythonRuntimeTest, AStreamThatStandsStillIsGivenUp) {
  start(kNoPreprocess, {.chunk_timeout = milliseconds(1000)});
  Heard heard, next;
  submit(
      heard,
      R"([["await","go"],["started"],["head"],["chunk","a"],["await","cancel"],["ended"],["done",2]])");
  submit(next, kPlain);
  runUntilOver(heard);
  runUntilOver(next);
  EXPECT_EQ(heard.end, End::kStalled);
  EXPECT_EQ(next.status, 200);
}

TEST_F(PythonRuntimeTest, RefusesBeyondItsLimitAndWhenItDrains) {
  start(kNoPreprocess, {.max_in_flight = 1});
  Heard heard, other;
  submit(heard, kUntilPoked);
  EXPECT_EQ(runtime_->submit({}, other).error(), PythonRuntime::Refusal::kFull);
  runtime_->drain();
  EXPECT_EQ(runtime_->submit({}, other).error(), PythonRuntime::Refusal::kDraining);
  poke(heard);
  runUntilOver(heard);
  EXPECT_EQ(heard.status, 200);
}

TEST_F(PythonRuntimeTest, AsksForHealthOnlyAModelThatAnswers) {
  start(R"({"loaded":{"operations":[],"is_healthy":true}})");
  std::optional<bool> healthy;
  runtime_->checkHealth([&](bool answer) { healthy = answer; });
  EXPECT_FALSE(healthy.has_value());
  runUntil([&] { return healthy.has_value(); });
  EXPECT_TRUE(*healthy);
}

TEST_F(PythonRuntimeTest, KnowsWhatTheModelOffers) {
  start(
      R"({"loaded":{"operations":["predict","embeddings","strange"],"schema":"{\"b\":1,\"a\":[1]}"}})");
  EXPECT_TRUE(runtime_->offers(Operation::kPredict));
  EXPECT_TRUE(runtime_->offers(Operation::kEmbeddings));
  EXPECT_FALSE(runtime_->offers(Operation::kWebSocket));
  EXPECT_EQ(runtime_->schema(), R"({"b":1,"a":[1]})") << "as the worker wrote it";
}

}  // namespace
}  // namespace penstock::runtime
