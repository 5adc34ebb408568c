#include "proxy/http/request_deadline.h"

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

std::optional<Duration> timeoutOf(std::initializer_list<http::Headers::Field> fields) {
  http::Headers headers;
  for (const auto& field : fields) {
    headers.add(field.name, field.value);
  }
  const auto result = requestTimeout(headers);
  EXPECT_TRUE(result.has_value());
  return result.value_or(std::nullopt);
}

TEST(RequestDeadline, IsAbsentWhenTheClientSaysNothing) {
  EXPECT_FALSE(timeoutOf({}));
}

TEST(RequestDeadline, ReadsEveryUnitOfGrpcTimeout) {
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "2H"}}), 2h);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "3M"}}), 3min);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "4S"}}), 4s);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "5m"}}), 5ms);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "6u"}}), 6us);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "7n"}}), 7ns);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "99999999H"}}), 24h * 365);
}

TEST(RequestDeadline, TakesTheShortestOfAllFields) {
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "1S"},
                       {"x-request-timeout-ms", "500"},
                       {"x-envoy-upstream-rq-timeout-ms", "700"}}),
            500ms);
}

TEST(RequestDeadline, TakesTheShortestOfAFieldThatIsRepeated) {
  EXPECT_EQ(timeoutOf({{"x-request-timeout-ms", "60000"}, {"x-request-timeout-ms", "200"}}), 200ms);
  EXPECT_EQ(timeoutOf({{"x-request-timeout-ms", "200"}, {"x-request-timeout-ms", "60000"}}), 200ms);
  EXPECT_EQ(timeoutOf({{"grpc-timeout", "3S"}, {"grpc-timeout", "2S"}}), 2s);
  http::Headers second_is_bad;
  second_is_bad.add("x-request-timeout-ms", "200");
  second_is_bad.add("x-request-timeout-ms", "soon");
  EXPECT_FALSE(requestTimeout(second_is_bad).has_value());
}

TEST(RequestDeadline, RefusesWhatIsNotANumberAndSaysWhatWasExpected) {
  for (const std::string_view bad :
       {"", "m", "1", "-1m", "+1m", "1x", "123456789m", "1 m", "1.5S"}) {
    http::Headers headers;
    headers.add("grpc-timeout", bad);
    const auto result = requestTimeout(headers);
    ASSERT_FALSE(result.has_value()) << bad;
    EXPECT_NE(result.error().message.find("grpc-timeout: expected"), std::string::npos);
  }
  for (const std::string_view bad : {"", "-5", "1s", "0x10", "1e3", "9999999999999"}) {
    http::Headers headers;
    headers.add("x-request-timeout-ms", bad);
    EXPECT_FALSE(requestTimeout(headers).has_value()) << bad;
  }
}

TEST(RequestDeadline, TellsTheReplicaTheTimeLeftRoundedUp) {
  http::Headers headers;
  headers.add("x-envoy-upstream-rq-timeout-ms", "9000");
  headers.add("grpc-timeout", "9S");
  setRemainingTime(headers, 1500us);
  EXPECT_EQ(headers.get("x-request-timeout-ms"), "2");
  EXPECT_EQ(headers.get("grpc-timeout"), "2m");
  EXPECT_FALSE(headers.has("x-envoy-upstream-rq-timeout-ms"));
}

TEST(RequestDeadline, IsTheSameForManyRequestsWhenItIsLong) {
  http::Headers headers;
  setRemainingTime(headers, 1200s - 3ms);
  EXPECT_EQ(headers.get("x-request-timeout-ms"), "1200000");
  setRemainingTime(headers, 100s - 3ms);
  EXPECT_EQ(headers.get("x-request-timeout-ms"), "99997");
}

TEST(RequestDeadline, IsTakenOutWhole) {
  http::Headers headers;
  for (const char* field :
       {"grpc-timeout", "x-request-timeout-ms", "x-envoy-upstream-rq-timeout-ms", "x-other"}) {
    headers.add(field, "1");
  }
  removeTimeouts(headers);
  EXPECT_EQ(headers.size(), 1U);
  EXPECT_TRUE(headers.has("x-other"));
}

TEST(RequestDeadline, InventsNoGrpcTimeout) {
  http::Headers headers;
  setRemainingTime(headers, 1s);
  EXPECT_FALSE(headers.has("grpc-timeout"));
}

TEST(RequestDeadline, WritesLongGrpcTimeoutsInSeconds) {
  http::Headers headers;
  headers.add("grpc-timeout", "9999H");
  setRemainingTime(headers, 30h);
  EXPECT_EQ(headers.get("grpc-timeout"), "108000S");
}

}  // namespace
}  // namespace penstock::proxy
