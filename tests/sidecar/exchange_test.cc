#include "sidecar/exchange.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/native_executor.h"
#include "sidecar/service.h"
#include "tests/model_runtime/runtime_fixture.h"
#include "tests/sidecar/fake_stream.h"
#include "tests/support/loop_runner.h"

namespace penstock::sidecar {
namespace {

using runtime::RuntimeTest;
using std::chrono::milliseconds;

// A model that belongs to the test.
class Borrowed final : public runtime::Model {
 public:
  explicit Borrowed(runtime::Model& model) : model_(model) {}
  runtime::Stages stages() const override { return model_.stages(); }
  runtime::ModelResult<std::unique_ptr<runtime::State>> preprocess(
      runtime::Input input, const runtime::Call& call) override {
    return model_.preprocess(std::move(input), call);
  }
  runtime::ModelResult<std::unique_ptr<runtime::State>> predict(
      std::unique_ptr<runtime::State> state, const runtime::Call& call, std::size_t lane) override {
    return model_.predict(std::move(state), call, lane);
  }
  runtime::ModelResult<runtime::Output> postprocess(std::unique_ptr<runtime::State> state,
                                                    const runtime::Call& call) override {
    return model_.postprocess(std::move(state), call);
  }

 private:
  runtime::Model& model_;
};

class ExchangeTest : public RuntimeTest, private Executor::Owner {
 protected:
  explicit ExchangeTest(std::size_t max_in_flight = 1000)
      : executor_(loop_, config_, max_in_flight, logger_, metrics_, *this),
        service_(
            loop_, logger_, metrics_, executor_,
            {.max_request_body = 10, .max_held = 15, .write_timeout = std::chrono::seconds(30)}) {}
  ~ExchangeTest() override {
    stand_.letThrough(1000);
    EXPECT_TRUE(net::turnUntil(loop_, [this] { return executor_.inFlight() == 0; }));
    net::runTurn(loop_);
  }

  void onExecutorReady() override {}
  void onExecutorFailed(std::string_view why) override { ADD_FAILURE() << why; }

  void startModel() { executor_.use(std::make_unique<Borrowed>(model_)); }
  // Predict stands still until stand_ lets it go on.
  void startStandingModel() {
    model_.in_predict = [this](auto& text, const runtime::Call& call, std::size_t) {
      journal_.note(text);
      call.token.sleepUntil(clock_.now() + std::chrono::minutes(5));
      stand_.pass();
    };
    startModel();
  }

  Exchange& open(FakeStream& stream) {
    return service_.add(stream, [this] { return reserved_.reserve(); });
  }
  static http::RequestHead head(std::vector<std::pair<std::string, std::string>> fields = {},
                                const std::string& path = "/predict",
                                const std::string& method = "POST") {
    http::RequestHead head{.method = method,
                           .scheme = "http",
                           .authority = "model",
                           .path = path,
                           .protocol = {},
                           .headers = {},
                           .content_length = {}};
    for (const auto& [name, value] : fields) {
      head.headers.add(name, value);
    }
    return head;
  }
  static void data(Exchange& exchange, std::string_view text, bool end) {
    exchange.onData({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, end);
  }
  // A request of one piece.
  Exchange& post(FakeStream& stream, std::string_view body,
                 std::vector<std::pair<std::string, std::string>> fields = {}) {
    Exchange& exchange = open(stream);
    exchange.onRequestHead(head(std::move(fields)), false);
    data(exchange, body, true);
    return exchange;
  }
  void get(FakeStream& stream, const std::string& path, const std::string& method = "GET") {
    open(stream).onRequestHead(head({}, path, method), true);
  }

  void turnUntilEnded(const FakeStream& stream) {
    EXPECT_TRUE(net::turnUntil(loop_, [&stream] { return stream.ended; })) << "not answered";
  }

  const ModelConfig config_{};
  net::EventLoop loop_{clock_};
  NativeExecutor executor_;
  Service service_;
  runtime::Turnstile stand_;
  http::ReservedStreams reserved_;
};

TEST_F(ExchangeTest, RunsTheModelOnTheWholeBody) {
  startModel();
  FakeStream stream;
  Exchange& exchange = open(stream);
  exchange.onRequestHead(head({{"x-request-id", "r1"}}), false);
  EXPECT_TRUE(stream.continued);
  data(exchange, "hel", false);
  net::runTurn(loop_);
  EXPECT_EQ(executor_.inFlight(), 0u) << "not before the body is complete";
  data(exchange, "lo", false);
  exchange.onTrailers({});
  turnUntilEnded(stream);
  EXPECT_EQ(stream.status(), 200);
  EXPECT_EQ(stream.body, "hello");
  EXPECT_EQ(stream.consumed, 5u);
  EXPECT_EQ(stream.field("x-penstock-sidecar"), "1");
  EXPECT_EQ(stream.field("x-request-id"), "r1");
  exchange.onEnd(http::StreamEnd::kComplete);
  EXPECT_EQ(service_.exchanges(), 0u);
}

TEST_F(ExchangeTest, AnswersHealthWhileTheModelLoads) {
  FakeStream live, not_ready, predict, ready, head_only;
  get(live, "/health/live");
  get(not_ready, "/health/ready");
  EXPECT_EQ(live.status(), 200);
  EXPECT_EQ(not_ready.status(), 503);
  post(predict, "x");
  EXPECT_EQ(predict.status(), 503);
  EXPECT_EQ(predict.reason(), "not_ready");
  EXPECT_EQ(predict.field("x-penstock-not-executed"), "true");
  startModel();
  get(ready, "/health/ready");
  EXPECT_EQ(ready.status(), 200);
  get(head_only, "/health/ready", "HEAD");
  EXPECT_EQ(head_only.status(), 200);
  EXPECT_EQ(head_only.body, "");
  EXPECT_TRUE(head_only.ended);
}

TEST_F(ExchangeTest, TellsWhatPathsAndMethodsThereAre) {
  FakeStream nowhere, wrong_method;
  get(nowhere, "/nowhere");
  EXPECT_EQ(nowhere.status(), 404);
  get(wrong_method, "/predict");
  EXPECT_EQ(wrong_method.status(), 405);
  EXPECT_EQ(wrong_method.field("allow"), "POST");
}

TEST_F(ExchangeTest, TakesABodyAtTheBoundAndNotOneByteMore) {
  startModel();
  FakeStream fits, declared, streamed;
  Exchange& small = post(fits, "0123456789");
  turnUntilEnded(fits);
  EXPECT_EQ(fits.status(), 200);
  small.onEnd(http::StreamEnd::kComplete);
  net::runTurn(loop_);
  auto too_long = head();
  too_long.content_length = 11;
  open(declared).onRequestHead(std::move(too_long), false);
  EXPECT_EQ(declared.status(), 413);
  EXPECT_FALSE(declared.continued);
  Exchange& exchange = open(streamed);
  exchange.onRequestHead(head(), false);
  data(exchange, "0123456789", false);
  EXPECT_EQ(streamed.status(), 0);
  data(exchange, "x", false);
  EXPECT_EQ(streamed.status(), 413);
  data(exchange, "more of it", true);
  EXPECT_EQ(streamed.consumed, 21u) << "the rest is read and dropped";
}

TEST_F(ExchangeTest, HoldsOnlySoManyBytesOfAllBodies) {
  startModel();
  FakeStream first, second, third;
  Exchange& holder = open(first);
  holder.onRequestHead(head(), false);
  data(holder, "0123456789", false);
  Exchange& refused = open(second);
  refused.onRequestHead(head(), false);
  data(refused, "012345", true);
  EXPECT_EQ(second.status(), 503);
  EXPECT_EQ(second.reason(), "overloaded");
  EXPECT_EQ(second.field("x-penstock-not-executed"), "true");
  holder.onEnd(http::StreamEnd::kPeerReset);
  net::runTurn(loop_);
  post(third, "0123456789");
  turnUntilEnded(third);
  EXPECT_EQ(third.status(), 200) << "what the first held is free again";
}

class NarrowExchangeTest : public ExchangeTest {
 protected:
  NarrowExchangeTest() : ExchangeTest(1) {}
};

TEST_F(NarrowExchangeTest, RefusesBeyondTheConcurrencyLimitAsNotExecuted) {
  startStandingModel();
  FakeStream first, second, third;
  Exchange& running = post(first, "a");
  post(second, "b");
  EXPECT_EQ(second.status(), 503);
  EXPECT_EQ(second.reason(), "concurrency_limit");
  EXPECT_EQ(second.field("x-penstock-not-executed"), "true");
  journal_.waitFor(1);
  running.cancel();
  stand_.letThrough();
  turnUntilEnded(first);
  Exchange& next = post(third, "c");
  EXPECT_EQ(third.status(), 0) << "the place was free before the answer was out";
  next.cancel();
  stand_.letThrough();
  turnUntilEnded(third);
}

TEST_F(ExchangeTest, ACancelledAttemptIsAnsweredWhenItsWorkHasEnded) {
  startStandingModel();
  FakeStream stream, cancel, again, unknown, nameless;
  post(stream, "a", {{"x-penstock-attempt-id", "t1"}});
  journal_.waitFor(1);
  const auto send = [this](FakeStream& to, const char* attempt) {
    open(to).onRequestHead(head({{"x-penstock-attempt-id", attempt}}, "/penstock/cancel"), true);
  };
  send(unknown, "t2");
  EXPECT_EQ(unknown.status(), 404);
  open(nameless).onRequestHead(head({}, "/penstock/cancel"), true);
  EXPECT_EQ(nameless.status(), 400);
  send(cancel, "t1");
  EXPECT_EQ(cancel.status(), 202);
  EXPECT_EQ(stream.status(), 0) << "the model still works";
  EXPECT_EQ(executor_.inFlight(), 1u);
  stand_.letThrough();
  turnUntilEnded(stream);
  EXPECT_EQ(stream.status(), 499);
  EXPECT_EQ(executor_.inFlight(), 0u);
  send(again, "t1");
  EXPECT_EQ(again.status(), 404);
}

TEST_F(ExchangeTest, AnUploadThatIsCancelledIsAnsweredAtOnce) {
  startModel();
  FakeStream stream;
  Exchange& exchange = open(stream);
  exchange.onRequestHead(head({{"x-penstock-attempt-id", "t1"}}), false);
  EXPECT_TRUE(service_.cancelAttempt("t1"));
  EXPECT_EQ(stream.status(), 499);
  data(exchange, "late", true);
  EXPECT_EQ(executor_.inFlight(), 0u);
}

TEST_F(ExchangeTest, WorkWhoseClientHasGoneIsCancelledAndCountsUntilItHasEnded) {
  startStandingModel();
  FakeStream stream;
  Exchange& exchange = post(stream, "a");
  journal_.waitFor(1);
  exchange.onEnd(http::StreamEnd::kPeerReset);
  EXPECT_EQ(reserved_.count(), 1u);
  EXPECT_EQ(service_.exchanges(), 1u);
  EXPECT_EQ(executor_.inFlight(), 1u);
  stand_.letThrough();
  EXPECT_TRUE(net::turnUntil(loop_, [this] { return service_.exchanges() == 0; }));
  EXPECT_EQ(reserved_.count(), 0u);
  EXPECT_EQ(stream.status(), 0);
}

TEST_F(ExchangeTest, TheDeadlineIsTheTimeoutFieldFromWhenTheHeadCame) {
  startStandingModel();
  FakeStream running, passed;
  post(running, "a", {{"x-request-timeout-ms", "20"}});
  stand_.letThrough();
  turnUntilEnded(running);
  EXPECT_EQ(running.status(), 504);
  EXPECT_EQ(running.reason(), "deadline_exceeded");
  post(passed, "b", {{"x-request-timeout-ms", "60000"}, {"x-request-timeout-ms", "0"}});
  EXPECT_EQ(passed.status(), 504);
  EXPECT_EQ(journal_.events().size(), 1u) << "the second has not reached the model";
}

TEST_F(ExchangeTest, RefusesATimeoutThatIsNone) {
  startModel();
  for (const char* value : {"", "-1", "1.5", "10s", " 7", "1234567890123"}) {
    FakeStream stream;
    open(stream).onRequestHead(head({{"x-request-timeout-ms", value}}), false);
    EXPECT_EQ(stream.status(), 400) << value;
  }
}

TEST_F(ExchangeTest, DrainRefusesNewWorkAndTellsWhenTheLastHasEnded) {
  startStandingModel();
  FakeStream running, late, ready;
  Exchange& last = post(running, "a");
  journal_.waitFor(1);
  bool idle = false;
  service_.drain([&idle] { idle = true; });
  get(ready, "/health/ready");
  EXPECT_EQ(ready.status(), 503);
  Exchange& refused = post(late, "b");
  EXPECT_EQ(late.status(), 503);
  EXPECT_EQ(late.reason(), "draining");
  EXPECT_EQ(late.field("x-penstock-not-executed"), "true");
  refused.onEnd(http::StreamEnd::kComplete);
  EXPECT_FALSE(idle);
  last.cancel();
  stand_.letThrough();
  turnUntilEnded(running);
  last.onEnd(http::StreamEnd::kComplete);
  // The one that asked for /health/ready has not ended yet.
  EXPECT_FALSE(idle);
  EXPECT_EQ(service_.exchanges(), 1u);
}

}  // namespace
}  // namespace penstock::sidecar
