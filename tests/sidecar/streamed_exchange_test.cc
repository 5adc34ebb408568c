// An exchange whose executor answers in pieces, or takes the request in pieces.

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/service.h"
#include "tests/sidecar/fake_stream.h"
#include "tests/support/loop_runner.h"

namespace penstock::sidecar {
namespace {

// Does nothing by itself.
class FakeExecutor final : public Executor {
 public:
  void start() override {}
  void drain() override {}
  std::optional<Refusal> unready() const override { return std::nullopt; }
  std::expected<Intake, Reply> intake(const http::RequestHead&) override { return how; }
  std::expected<Id, Reply> submit(Work the_work, Listener& the_listener) override {
    work = std::move(the_work);
    listener = &the_listener;
    return 7;
  }
  void cancel(Id) override { ++cancelled; }
  void sendData(Id, std::span<const std::uint8_t> data, bool end) override {
    received.append(reinterpret_cast<const char*>(data.data()), data.size());
    received_end = end;
  }
  void consumed(Id, std::size_t bytes) override { credited += bytes; }
  std::size_t inFlight() const override { return listener == nullptr ? 0 : 1; }

  Intake how = Intake::kWhole;
  std::optional<Work> work;
  Listener* listener = nullptr;
  int cancelled = 0;
  std::string received;
  bool received_end = false;
  std::size_t credited = 0;
};

class StreamedExchangeTest : public testing::Test {
 protected:
  Exchange& begin(bool end_stream = true) {
    Exchange& exchange = service_.add(stream_, [this] { return reserved_.reserve(); });
    http::RequestHead head{.method = "POST",
                           .scheme = "http",
                           .authority = "model",
                           .path = "/predict",
                           .protocol = {},
                           .headers = {},
                           .content_length = {}};
    head.headers.add("x-request-id", "r1");
    exchange.onRequestHead(std::move(head), end_stream);
    return exchange;
  }
  static http::ResponseHead ok() { return {.status = 200, .headers = {}, .content_length = {}}; }

  SteadyClock clock_;
  net::EventLoop loop_{clock_};
  Logger log_{{.level = LogLevel::kError, .program = "test"}};
  Metrics metrics_;
  FakeExecutor executor_;
  Service service_{
      loop_,
      log_,
      metrics_,
      executor_,
      {.max_request_body = 100, .max_held = 100, .write_timeout = std::chrono::milliseconds(300)}};
  FakeStream stream_;
  http::ReservedStreams reserved_;
};

TEST_F(StreamedExchangeTest, PassesAResponseOnAsItComes) {
  Exchange& exchange = begin();
  executor_.listener->onHead(ok());
  EXPECT_EQ(stream_.status(), 200);
  EXPECT_EQ(stream_.field("x-penstock-sidecar"), "1");
  EXPECT_EQ(stream_.field("x-request-id"), "r1");
  executor_.listener->onData("one");
  EXPECT_EQ(stream_.body, "one");
  EXPECT_EQ(executor_.credited, 3u);
  EXPECT_FALSE(stream_.ended);
  executor_.listener->onFinished({});
  EXPECT_TRUE(stream_.ended);
  exchange.onEnd(http::StreamEnd::kComplete);
  EXPECT_EQ(service_.exchanges(), 0u);
  EXPECT_EQ(executor_.cancelled, 0);
}

TEST_F(StreamedExchangeTest, AResponseCutShortResetsTheStream) {
  begin();
  executor_.listener->onHead(ok());
  executor_.listener->onData("half");
  executor_.listener->onAborted(Refusal::kStreamFailed);
  EXPECT_FALSE(stream_.reset_with.has_value()) << "before what was sent has been written";
  EXPECT_TRUE(net::turnUntil(loop_, [this] { return stream_.reset_with.has_value(); }));
  EXPECT_EQ(stream_.body, "half");
  EXPECT_FALSE(stream_.ended);
  EXPECT_EQ(service_.exchanges(), 0u);
}

TEST_F(StreamedExchangeTest, AResponseThatBreaksOffIsCountedByItsReasonWhichTheResetTells) {
  const std::tuple<Refusal, const char*, http::ResetReason> rows[] = {
      {Refusal::kStreamFailed, "stream_failed", http::ResetReason::kInternal},
      {Refusal::kWorkerLost, "worker_lost", http::ResetReason::kInternal},
      {Refusal::kServerConnectionLost, "server_connection_lost", http::ResetReason::kInternal},
      {Refusal::kServerReset, "server_reset", http::ResetReason::kInternal},
      {Refusal::kDeadlineExceeded, "deadline_exceeded", http::ResetReason::kCancel},
      {Refusal::kCancelled, "cancelled", http::ResetReason::kCancel},
      {Refusal::kStreamStalled, "stream_stalled", http::ResetReason::kCancel}};
  for (const auto& [why, word, reset] : rows) {
    stream_.head.reset();
    stream_.reset_with.reset();
    begin();
    executor_.listener->onHead(ok());
    executor_.listener->onAborted(why);
    EXPECT_TRUE(net::turnUntil(loop_, [this] { return stream_.reset_with.has_value(); }));
    EXPECT_EQ(stream_.reset_with, reset) << word;
    EXPECT_THAT(metrics_.render(), testing::HasSubstr("penstock_responses_broken_total{reason=\"" +
                                                      std::string(word) + "\"} 1"));
  }
}

TEST_F(StreamedExchangeTest, WhatAClientDoesNotReadIsNotCredited) {
  Exchange& exchange = begin();
  executor_.listener->onHead(ok());
  stream_.unsent = 1 << 20;
  executor_.listener->onData("slow");
  EXPECT_EQ(executor_.credited, 0u);
  stream_.unsent = 0;
  exchange.onSendReady();
  EXPECT_EQ(executor_.credited, 4u);
}

TEST_F(StreamedExchangeTest, AClientThatReadsNothingForTheWriteTimeoutIsGivenUp) {
  begin();
  executor_.listener->onHead(ok());
  stream_.unsent = 1 << 20;
  executor_.listener->onData("never read");
  EXPECT_TRUE(net::turnUntil(loop_, [this] { return stream_.reset_with.has_value(); }));
  EXPECT_EQ(executor_.cancelled, 1);
  EXPECT_EQ(reserved_.count(), 1u);
  executor_.listener->onAborted(Refusal::kStreamFailed);
  net::runTurn(loop_);
  EXPECT_EQ(reserved_.count(), 0u);
  EXPECT_EQ(service_.exchanges(), 0u);
}

TEST_F(StreamedExchangeTest, AClientThatReadsSlowlyIsNotGivenUp) {
  begin();
  executor_.listener->onHead(ok());
  stream_.unsent = 1 << 20;
  executor_.listener->onData("slowly read");
  const TimePoint stops_reading = clock_.now() + 5 * service_.options().write_timeout;
  bool reads = true;
  EXPECT_TRUE(net::turnUntil(loop_, [&] {
    reads = clock_.now() < stops_reading;
    stream_.unsent -= reads ? 1 : 0;
    return stream_.reset_with.has_value();
  }));
  EXPECT_FALSE(reads) << "given up only when nothing moves any more";
  executor_.listener->onAborted(Refusal::kStreamFailed);
}

TEST_F(StreamedExchangeTest, AfterTheClientHasGoneTheRestIsDroppedAndCredited) {
  Exchange& exchange = begin();
  executor_.listener->onHead(ok());
  exchange.onEnd(http::StreamEnd::kPeerReset);
  EXPECT_EQ(executor_.cancelled, 1);
  executor_.listener->onData("late");
  EXPECT_EQ(executor_.credited, 4u);
  EXPECT_EQ(stream_.body, "");
  executor_.listener->onFinished({});
  EXPECT_EQ(service_.exchanges(), 0u);
}

TEST_F(StreamedExchangeTest, ARequestThatIsWantedInPiecesIsNotHeld) {
  executor_.how = Intake::kStreamed;
  Exchange& exchange = begin(false);
  ASSERT_NE(executor_.listener, nullptr) << "at once";
  const std::string large(1000, 'x');
  exchange.onData({reinterpret_cast<const std::uint8_t*>(large.data()), large.size()}, false);
  EXPECT_EQ(executor_.received, large);
  EXPECT_EQ(stream_.consumed, 0u) << "only as the executor deals with it";
  executor_.listener->onConsumed(400);
  EXPECT_EQ(stream_.consumed, 400u);
  exchange.onTrailers({});
  EXPECT_TRUE(executor_.received_end);
}

}  // namespace
}  // namespace penstock::sidecar
