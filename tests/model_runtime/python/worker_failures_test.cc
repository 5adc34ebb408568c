// What a worker may do wrong, and what its death costs.

#include <array>
#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_runtime/python/python_runtime_fixture.h"

namespace penstock::runtime {
namespace {

using End = PythonRuntime::End;
using std::chrono::milliseconds;
using testing::Each;
using testing::Field;
using testing::HasSubstr;

constexpr char kPlain[] = R"([["await","go"],["started"],["ended"],["done",0,0,200,"hi"]])";
constexpr char kPid[] = R"([["await","go"],["started"],["ended"],["pid"]])";

using WorkerFailuresTest = PythonRuntimeTest;

TEST_F(WorkerFailuresTest, AModelThatDoesNotLoadIsTold) {
  start(R"({"error":"no module named torch"})");
  EXPECT_EQ(failed_, "no module named torch");
}

TEST_F(WorkerFailuresTest, AWorkerThatEndsBeforeTheModelIsLoadedIsTold) {
  start(R"({"exit_at_start":7})");
  EXPECT_THAT(failed_, HasSubstr("exit code 7"));
}

TEST_F(WorkerFailuresTest, AWorkerOfAnotherVersionIsRefused) {
  start(R"({"version":99,"loaded":{"operations":[]}})");
  EXPECT_THAT(failed_, HasSubstr("signal 9"));
}

TEST_F(WorkerFailuresTest, AnInterpreterThatIsNoneIsTold) {
  startWith({.worker = {.interpreter = "/nowhere/python",
                        .package = "/nowhere",
                        .directory = "/",
                        .environment = {},
                        .start = "{}"}});
  EXPECT_NE(failed_, "");
}

struct Misdeed {
  const char* name;
  const char* script;
};

class MisbehavingWorkerTest : public PythonRuntimeTest,
                              public testing::WithParamInterface<Misdeed> {};

TEST_P(MisbehavingWorkerTest, IsKilledAndCostsOnlyWhatItHadBegun) {
  start();
  Heard guilty, waiting;
  submit(guilty, GetParam().script);
  submit(waiting, kPlain);
  runUntilOver(waiting);
  EXPECT_EQ(waiting.status, 200);
  EXPECT_TRUE(guilty.over());
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 1);
  EXPECT_EQ(runtime_->inFlight(), 0u);
  EXPECT_EQ(metric("penstock_gate_in_predict"), 0);
}

INSTANTIATE_TEST_SUITE_P(
    , MisbehavingWorkerTest,
    testing::Values(
        Misdeed{"AnswersTwice", R"([["await","go"],["started"],["ended"],["done"],["done"]])"},
        Misdeed{"StartsTwice", R"([["await","go"],["started"],["started"]])"},
        Misdeed{"AnswersInsidePredict", R"([["await","go"],["started"],["done"]])"},
        Misdeed{"SaysReadyOutOfTurn", R"([["await","go"],["started"],["ready"]])"},
        Misdeed{"SendsAHeadTwice", R"([["await","go"],["started"],["head"],["head"]])"},
        Misdeed{"SendsAChunkWithoutAHead", R"([["await","go"],["started"],["chunk","x"]])"},
        Misdeed{"GivesAStatusThatIsNone",
                R"([["await","go"],["started"],["ended"],["done",0,0,99]])"},
        Misdeed{"AnswersAfterAHead",
                R"([["await","go"],["started"],["head"],["ended"],["done",0]])"},
        // DONE of request 77.
        Misdeed{
            "SpeaksOfAnUnknownRequest",
            R"([["await","go"],["started"],["raw","08000000280000004d000000000000000000c80000000000"]])"},
        Misdeed{"SendsGarbage",
                R"([["await","go"],["started"],["raw","ffffffffffffffffffffffffffffffffffff"]])"},
        Misdeed{"AnnouncesADescriptorThatDoesNotCome",
                R"([["await","go"],["started"],["raw","00000000288000000100000000000000"]])"},
        Misdeed{"SendsAnUnknownFrame",
                R"([["await","go"],["started"],["raw","00000000630000000100000000000000"]])"},
        Misdeed{"Dies", R"([["await","go"],["started"],["exit",3]])"}),
    [](const auto& test) { return test.param.name; });

TEST_F(WorkerFailuresTest, TellsWhatRanFromWhatDidNot) {
  start(kWithPreprocess);
  Heard prepared, guilty;
  submit(guilty, R"([["ready"],["await","go"],["started"],["await","message"],["exit",3]])");
  submit(prepared, R"([["ready"],["await","go"],["started"],["ended"],["done"]])");
  runUntil([this] { return metric("penstock_gate_waiting") == 1; });
  poke(guilty);
  runUntilOver(prepared);
  runUntilOver(guilty);
  EXPECT_EQ(guilty.end, End::kWorkerLost);
  EXPECT_EQ(prepared.end, End::kWorkerLost) << "its preprocess had run";
  Heard after;
  runUntil([this] { return runtime_->ready(); });
  submit(after, R"([["ready"],["await","go"],["started"],["ended"],["done"]])");
  runUntilOver(after);
  EXPECT_EQ(after.status, 200);
}

TEST_F(WorkerFailuresTest, WhatKillsTwoWorkersBeforeItBeginsIsGivenUp) {
  start();
  Heard guilty, waiting;
  submit(guilty, R"([["await","go"],["ended"]])");
  submit(waiting, kPlain);
  runUntilOver(waiting);
  EXPECT_EQ(waiting.status, 200);
  EXPECT_EQ(guilty.end, End::kWorkerLost);
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 2);
}

TEST_F(WorkerFailuresTest, WhatHadBegunWithoutSayingSoIsNotRunAgain) {
  start();
  Heard first, second, third;
  submit(first, R"([["await","go"],["begin"],["await","message"],["exit",3]])");
  submit(second, kPlain);
  submit(third, kPlain);
  poke(first);
  runUntilOver(first);
  EXPECT_EQ(first.end, End::kWorkerLost);
  runUntilOver(third);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(third.status, 200);
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 1);
}

TEST_F(WorkerFailuresTest, WhatHadTakenAPlaceInPredictWithoutSayingSoIsNotRunAgain) {
  start();
  Heard first, second, third;
  submit(first,
         R"([["await","go"],["started"],["await","message"],["switch_quietly"],["exit",3]])");
  submit(second, kPlain);
  submit(third, kPlain);
  poke(first);
  runUntilOver(third);
  EXPECT_EQ(first.end, End::kWorkerLost);
  EXPECT_EQ(second.end, End::kWorkerLost) << "it had begun, though the gate had not let it yet";
  EXPECT_EQ(third.status, 200);
  EXPECT_EQ(metric("penstock_gate_in_predict"), 0);
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 1);
}

TEST_F(WorkerFailuresTest, WhatADeadWorkerNotedThatItWasNotGivenCostsNobodyAnything) {
  constexpr std::size_t kAnnounced = 16;
  start();
  Heard guilty;
  std::array<Heard, kAnnounced + 1> waiting;
  const std::string unknown = std::to_string(waiting.size() + 1);
  submit(guilty, R"([["await","go"],["started"],["begin",)" + unknown + R"(],["exit",3]])");
  for (Heard& each : waiting) {
    submit(each, kPlain);
  }
  ASSERT_EQ(std::to_string(waiting.back().id), unknown);
  runUntilOver(waiting.back());
  EXPECT_EQ(guilty.end, End::kWorkerLost);
  EXPECT_THAT(waiting, Each(Field(&Heard::status, 200)));
}

TEST_F(WorkerFailuresTest, ALaneMemoryThatTheWorkerHasCutTellsNothing) {
  start();
  Heard guilty, waiting;
  submit(guilty, R"([["await","go"],["started"],["begin",2],["no_memory"],["exit",3]])");
  submit(waiting, kPlain);
  runUntilOver(waiting);
  EXPECT_EQ(waiting.status, 200);
  EXPECT_EQ(guilty.end, End::kWorkerLost);
}

TEST_F(WorkerFailuresTest, WhoIsCancelledWhileThereIsNoWorkerIsGone) {
  start(kNoPreprocess, {});
  Heard guilty, waiting;
  submit(guilty, R"([["await","go"],["started"],["exit",3]])");
  submit(waiting, kPlain);
  runUntilOver(guilty);
  ASSERT_FALSE(runtime_->ready());
  runtime_->cancel(waiting.id);
  runUntilOver(waiting);
  EXPECT_EQ(waiting.end, End::kCancelled);
  EXPECT_EQ(runtime_->inFlight(), 0u);
}

TEST_F(WorkerFailuresTest, WhoComesWhileThereIsNoWorkerWaitsForTheNext) {
  start();
  Heard guilty, plain, websocket;
  submit(guilty, R"([["await","go"],["started"],["exit",3]])");
  runUntilOver(guilty);
  ASSERT_FALSE(runtime_->ready());
  submit(plain, kPlain);
  PythonRuntime::Submission hello;
  hello.operation = Operation::kWebSocket;
  EXPECT_EQ(runtime_->submit(std::move(hello), websocket).error(),
            PythonRuntime::Refusal::kNotReady);
  runUntilOver(plain);
  EXPECT_EQ(plain.status, 200);
}

TEST_F(WorkerFailuresTest, IsLetGoInItsOwnWay) {
  start();
  Heard heard;
  submit(heard, kPid);
  runUntilOver(heard);
  bool stopped = false;
  runtime_->stop([&] { stopped = true; });
  EXPECT_FALSE(stopped);
  runUntil([&] { return stopped; });
  EXPECT_NE(::kill(std::stoi(heard.body), 0), 0) << "it has ended";
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 0);
}

TEST_F(WorkerFailuresTest, AStreamIsLostWithItsWorker) {
  start();
  Heard heard;
  submit(heard, R"([["await","go"],["started"],["head"],["chunk","a"],["exit",3]])");
  runUntilOver(heard);
  EXPECT_EQ(heard.head, 200);
  EXPECT_EQ(heard.end, End::kWorkerLost);
}

TEST_F(WorkerFailuresTest, WorkThatGoesOnLongAfterItsDeadlineEndsTheWorker) {
  start(kNoPreprocess, {.hang_timeout = milliseconds(50)});
  Heard before, hanging, after;
  submit(before, kPid);
  runUntilOver(before);
  submit(hanging, R"([["await","go"],["started"],["sleep"]])", in(milliseconds(20)));
  submit(after, kPid);
  runUntilOver(hanging);
  EXPECT_EQ(hanging.end, End::kDeadlineExceeded);
  runUntilOver(after);
  EXPECT_NE(after.body, before.body) << "another process";
}

}  // namespace
}  // namespace penstock::runtime
