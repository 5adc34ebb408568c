// What a worker may do wrong, and what its death costs.

#include <array>
#include <csignal>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

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

// What a model or its client may make a worker say: it costs that one request.
class UnfitAnswerTest : public PythonRuntimeTest, public testing::WithParamInterface<Misdeed> {};

TEST_P(UnfitAnswerTest, FailsThatRequestAndNotTheWorker) {
  start(kNoPreprocess, {.max_response_body = 100'000});
  Heard guilty, other;
  submit(guilty, GetParam().script);
  submit(other, kPlain);
  runUntilOver(guilty);
  runUntilOver(other);
  EXPECT_EQ(guilty.end, End::kUnfit);
  EXPECT_EQ(guilty.head, 0);
  EXPECT_EQ(guilty.body, "");
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 0);
  EXPECT_EQ(metric("penstock_gate_in_predict"), 0);
}

INSTANTIATE_TEST_SUITE_P(
    , UnfitAnswerTest,
    testing::Values(
        Misdeed{"StatusZero", R"([["await","go"],["started"],["ended"],["done",0,0,0]])"},
        Misdeed{"StatusOfAnInterimResponse",
                R"([["await","go"],["started"],["ended"],["done",0,0,101]])"},
        Misdeed{"StatusTooHigh", R"([["await","go"],["started"],["ended"],["done",0,0,999]])"},
        Misdeed{"FieldsThatAreNone",
                R"([["await","go"],["started"],["ended"],["done",0,0,200,"x",[["a"],5]]])"},
        Misdeed{"AFieldBeyondLatin1",
                R"([["await","go"],["started"],["ended"],["done",0,0,200,"x",[["a","\u3042"]]]])"},
        Misdeed{"HalfACharacterInAField",
                R"([["await","go"],["started"],["ended"],["done",0,0,200,"x",[["a","\ud800"]]]])"},
        Misdeed{"TooLongABody", R"([["await","go"],["started"],["ended"],["long_done",100001]])"},
        Misdeed{
            "AStreamsStatus",
            R"([["await","go"],["started"],["head",600],["chunk","x"],["await","cancel"],["ended"],["done",1]])"}),
    [](const auto& test) { return test.param.name; });

TEST_F(WorkerFailuresTest, AFieldsValueIsTheBytesThatItsCodePointsStandFor) {
  start();
  Heard heard;
  submit(heard,
         R"([["await","go"],["started"],["ended"],["done",0,0,200,"",[["a","\u00e9\u00ff~"]]]])");
  runUntilOver(heard);
  ASSERT_EQ(heard.fields.size(), 1u);
  EXPECT_EQ(heard.fields[0].second, "\xe9\xff~");
}

TEST_F(WorkerFailuresTest, AStreamThatEndedIsCountedByItsFault) {
  start();
  const std::pair<const char*, const char*> rows[] = {
      {"0", "succeeded"}, {"1", "bad_input"}, {"2", "failed"}};
  for (const auto& [fault, outcome] : rows) {
    Heard heard;
    submit(heard, R"([["await","go"],["started"],["head",500],["chunk","x"],["ended"],["done",1,)" +
                      std::string(fault) + "]]");
    runUntilOver(heard);
    EXPECT_EQ(heard.end, End::kFinished);
    EXPECT_THAT(metrics_.render(), HasSubstr("penstock_requests_total{outcome=\"" +
                                             std::string(outcome) + "\",stage=\"postprocess\"} 1"));
  }
}

TEST_F(WorkerFailuresTest, AWebSocketIsGivenUpForWhatCannotBePassedOn) {
  start(kNoPreprocess, {.max_response_body = 100'000});
  const std::pair<const char*, const char*> scripts[] = {
      {"fields", R"([["await","go"],["started"],["accept",{"headers":[5]}])"},
      {"message", R"([["await","go"],["started"],["accept",{}],["send",100001])"}};
  for (const auto& [name, script] : scripts) {
    Heard heard;
    submit(heard, std::string(script) + R"(,["await","cancel"],["ended"],["done",3]])",
           Deadline::never(), Operation::kWebSocket);
    runUntilOver(heard);
    EXPECT_EQ(heard.end, End::kUnfit) << name;
  }
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 0);
}

TEST_F(WorkerFailuresTest, ALogEventThatCannotBeReadEndsNothing) {
  start();
  for (const char* event : {"", "[1]", "{", "\\u00ff\\u00fe", R"({\"message\":\"\\ud800\"})",
                            R"({\"message\":5,\"level\":{}})"}) {
    Heard heard;
    submit(heard, R"([["await","go"],["started"],["log",")" + std::string(event) +
                      R"("],["ended"],["done"]])");
    runUntilOver(heard);
    EXPECT_EQ(heard.status, 200) << event;
  }
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 0);
}

// With no descriptor left the kernel drops the one that comes with an answer.
TEST_F(WorkerFailuresTest, AnAnswerWhoseBodyIsLostForWantOfADescriptorFailsAlone) {
  start();
  Heard heard, other;
  submit(heard,
         R"([["await","go"],["started"],["await","message"],["ended"],["long_done",100000]])");
  runUntil([this] { return metric("penstock_gate_in_predict") == 1; });
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(STDERR_FILENO);
  ::close(next);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  poke(heard);
  runUntilOver(heard);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(heard.end, End::kUnfit);
  submit(other, R"([["await","go"],["started"],["ended"],["long_done",100000]])");
  runUntilOver(other);
  EXPECT_EQ(other.body.size(), 100'000u);
  EXPECT_EQ(metric("penstock_worker_restarts_total"), 0);
}

TEST_F(WorkerFailuresTest, AConfigTooLongForAFrameIsTold) {
  start(R"({"x":")" + std::string(1 << 20, 'x') + R"("})");
  EXPECT_THAT(failed_, HasSubstr("config is too long"));
}

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
  submit(hanging, R"([["await","go"],["started"],["sleep"]])", in(milliseconds(1500)));
  submit(after, kPid);
  runUntilOver(hanging);
  EXPECT_EQ(hanging.end, End::kDeadlineExceeded);
  runUntilOver(after);
  EXPECT_NE(after.body, before.body) << "another process";
}

}  // namespace
}  // namespace penstock::runtime
