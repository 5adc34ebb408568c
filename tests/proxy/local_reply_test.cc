#include "proxy/local_reply.h"

#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

struct Row {
  Reason reason;
  const char* name;
  int status;
  int grpc_status;
  bool retry_after;
};

// The table of outcomes as the documentation promises it.
constexpr Row kPromised[] = {
    {Reason::kNone, "none", 200, 0, false},
    {Reason::kQueueFull, "queue_full", 429, 8, true},
    {Reason::kQueueBytesFull, "queue_bytes_full", 429, 8, true},
    {Reason::kNoReplica, "no_replica", 503, 14, true},
    {Reason::kQueueTimeout, "queue_timeout", 503, 14, true},
    {Reason::kDraining, "draining", 503, 14, true},
    {Reason::kOverloaded, "overloaded", 503, 14, true},
    {Reason::kReplicaRefusedAfterSend, "replica_refused_after_send", 502, 14, false},
    {Reason::kReplicaConnectionLost, "replica_connection_lost", 502, 14, false},
    {Reason::kReplicaProtocolError, "replica_protocol_error", 502, 14, false},
    {Reason::kReplicaStreamFailed, "replica_stream_failed", 502, 13, false},
    {Reason::kReplicaTimeout, "replica_timeout", 504, 4, false},
    {Reason::kDeadlineExceeded, "deadline_exceeded", 504, 4, false},
    {Reason::kBadRequest, "bad_request", 400, 13, false},
    {Reason::kNotFound, "not_found", 404, 12, false},
    {Reason::kMethodNotAllowed, "method_not_allowed", 405, 12, false},
    {Reason::kRequestTimeout, "request_timeout", 408, 4, false},
    {Reason::kPayloadTooLarge, "payload_too_large", 413, 8, false},
    {Reason::kUriTooLong, "uri_too_long", 414, 13, false},
    {Reason::kExpectationFailed, "expectation_failed", 417, 13, false},
    {Reason::kMisdirected, "misdirected", 421, 13, false},
    {Reason::kHeadersTooLarge, "headers_too_large", 431, 8, false},
    {Reason::kNotImplemented, "not_implemented", 501, 12, false},
    {Reason::kVersionNotSupported, "version_not_supported", 505, 13, false},
    {Reason::kClientGone, "client_gone", 499, 1, false},
};

class EveryOutcome : public ::testing::TestWithParam<Row> {};

TEST_P(EveryOutcome, HasItsNameAndStatuses) {
  const Outcome& outcome = outcomeOf(GetParam().reason);
  EXPECT_EQ(outcome.name, GetParam().name);
  EXPECT_EQ(outcome.status, GetParam().status);
  EXPECT_EQ(std::to_underlying(outcome.grpc_status), GetParam().grpc_status);
  EXPECT_EQ(outcome.retry_after, GetParam().retry_after);
  EXPECT_FALSE(outcome.message.empty());
}

TEST_P(EveryOutcome, IsAnsweredInJson) {
  const LocalReply reply = makeLocalReply(GetParam().reason, "why", "id-1", false, 2500ms);
  EXPECT_EQ(reply.head.status, GetParam().status);
  EXPECT_EQ(reply.body,
            "{\"error\":{\"code\":" + std::to_string(GetParam().status) + ",\"message\":\"why\"}}");
  EXPECT_EQ(reply.head.content_length, reply.body.size());
  EXPECT_EQ(reply.head.headers.get("content-type"), "application/json");
  EXPECT_EQ(reply.head.headers.get("x-penstock-reason"), GetParam().name);
  EXPECT_EQ(reply.head.headers.get("x-request-id"), "id-1");
  EXPECT_EQ(reply.head.headers.get("retry-after"),
            GetParam().retry_after ? std::optional<std::string_view>("3") : std::nullopt);
  EXPECT_FALSE(reply.head.headers.has("grpc-status"));
}

TEST_P(EveryOutcome, IsAnsweredToGrpcWithTrailersOnly) {
  const LocalReply reply = makeLocalReply(GetParam().reason, "why", "id-1", true, 1s);
  EXPECT_EQ(reply.head.status, 200);
  EXPECT_TRUE(reply.body.empty());
  EXPECT_EQ(reply.head.headers.get("content-type"), "application/grpc");
  EXPECT_EQ(reply.head.headers.get("grpc-status"), std::to_string(GetParam().grpc_status));
  EXPECT_EQ(reply.head.headers.get("grpc-message"), "why");
  EXPECT_EQ(reply.head.headers.get("x-penstock-reason"), GetParam().name);
  EXPECT_EQ(reply.head.headers.has("retry-after"), GetParam().retry_after);
}

INSTANTIATE_TEST_SUITE_P(LocalReply, EveryOutcome, ::testing::ValuesIn(kPromised),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(LocalReply, HasOneRowForEachReason) {
  std::set<std::string_view> names;
  for (const Row& row : kPromised) {
    names.insert(outcomeOf(row.reason).name);
  }
  EXPECT_EQ(names.size(), kReasons);
  EXPECT_EQ(std::size(kPromised), kReasons);
}

TEST(LocalReply, GivesTheDefaultMessageWithoutADetail) {
  const LocalReply reply = makeLocalReply(Reason::kQueueFull, "", "", false, 1s);
  EXPECT_EQ(reply.body, R"({"error":{"code":429,"message":"too many requests are waiting"}})");
  EXPECT_FALSE(reply.head.headers.has("x-request-id"));
}

TEST(LocalReply, EscapesTheDetailInJson) {
  const LocalReply reply = makeLocalReply(Reason::kBadRequest, "a \"quote\"\n", "", false, 0s);
  EXPECT_EQ(reply.body, R"({"error":{"code":400,"message":"a \"quote\"\n"}})");
}

TEST(LocalReply, PercentEncodesTheGrpcMessage) {
  const LocalReply reply = makeLocalReply(Reason::kBadRequest, "50% \xC3\xA9\n~", "", true, 0s);
  EXPECT_EQ(reply.head.headers.get("grpc-message"), "50%25 %C3%A9%0A~");
}

TEST(LocalReply, EndsABegunGrpcResponseWithTheSameStatus) {
  const http::Headers trailers = makeGrpcTrailers(Reason::kReplicaTimeout, "");
  EXPECT_EQ(trailers.get("grpc-status"), "4");
  EXPECT_EQ(trailers.get("grpc-message"), "the replica did not answer in time");
  EXPECT_EQ(trailers.get("x-penstock-reason"), "replica_timeout");
}

TEST(LocalReply, HasAGrpcStatusForEachOfHttp) {
  EXPECT_EQ(grpcStatusOf(503), http::GrpcStatus::kUnavailable);
  EXPECT_EQ(grpcStatusOf(504), http::GrpcStatus::kDeadlineExceeded);
  EXPECT_EQ(grpcStatusOf(499), http::GrpcStatus::kCancelled);
  EXPECT_EQ(grpcStatusOf(413), http::GrpcStatus::kResourceExhausted);
  EXPECT_EQ(grpcStatusOf(404), http::GrpcStatus::kUnimplemented);
  EXPECT_EQ(grpcStatusOf(500), http::GrpcStatus::kInternal);
}

TEST(LocalReply, AsksForAtLeastOneSecondOfPatience) {
  const auto patience = [](Duration wait) {
    const LocalReply reply = makeLocalReply(Reason::kQueueFull, "", "", false, wait);
    return std::string(reply.head.headers.get("retry-after").value_or(""));
  };
  EXPECT_EQ(patience(0s), "1");
  EXPECT_EQ(patience(1s), "1");
  EXPECT_EQ(patience(1001ms), "2");
  EXPECT_EQ(patience(3600s), "3600");
}

TEST(LocalReply, SaysWhichMethodsAreAllowed) {
  EXPECT_TRUE(
      makeLocalReply(Reason::kMethodNotAllowed, "", "", false, 0s).head.headers.has("allow"));
  EXPECT_FALSE(makeLocalReply(Reason::kNotFound, "", "", false, 0s).head.headers.has("allow"));
}

TEST(LocalReply, HasAReasonForEachRefusalOfTheCodec) {
  using Rejection = http::ServerConnection::Rejection;
  const auto status = [](Rejection why) { return outcomeOf(reasonOf(why)).status; };
  EXPECT_EQ(status(Rejection::kBadRequest), 400);
  EXPECT_EQ(status(Rejection::kWebSocketVersion), 400);
  EXPECT_EQ(status(Rejection::kMethodNotAllowed), 405);
  EXPECT_EQ(status(Rejection::kRequestTimeout), 408);
  EXPECT_EQ(status(Rejection::kUriTooLong), 414);
  EXPECT_EQ(status(Rejection::kMisdirected), 421);
  EXPECT_EQ(status(Rejection::kHeadersTooLarge), 431);
  EXPECT_EQ(status(Rejection::kVersionNotSupported), 505);
  EXPECT_EQ(status(Rejection::kNotImplemented), 501);
}

}  // namespace
}  // namespace penstock::proxy
