#include "proxy/http/client_fields.h"

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using Fields = std::vector<std::pair<std::string, std::string>>;

http::Headers headersOf(const Fields& fields) {
  http::Headers headers;
  for (const auto& [name, value] : fields) {
    headers.add(name, value);
  }
  return headers;
}

Fields fieldsOf(const http::Headers& headers) {
  Fields fields;
  for (const auto [name, value] : headers) {
    fields.emplace_back(name, value);
  }
  return fields;
}

Fields after(const Fields& fields, const Origin& origin, std::string authority = "api.example") {
  http::RequestHead head;
  head.authority = std::move(authority);
  head.headers = headersOf(fields);
  setOrigin(head, origin);
  return fieldsOf(head.headers);
}

constexpr Origin kStranger{.peer = "10.0.0.9"};
constexpr Origin kTrusted{.peer = "10.0.0.9", .is_trusted = true};

const Fields kClaims = {{"x-forwarded-proto", "https"}, {"x-forwarded-host", "evil.example"},
                        {"x-forwarded-port", "444"},    {"x-real-ip", "6.6.6.6"},
                        {"forwarded", "for=6.6.6.6"},   {"x-other", "kept"}};

TEST(SetOrigin, SaysWhereARequestCameFrom) {
  EXPECT_THAT(after({}, kStranger), UnorderedElementsAre(Pair("x-forwarded-for", "10.0.0.9"),
                                                         Pair("x-forwarded-proto", "http")));
  EXPECT_THAT(
      after({}, {.peer = "::1", .is_tls = true}),
      UnorderedElementsAre(Pair("x-forwarded-for", "::1"), Pair("x-forwarded-proto", "https")));
}

TEST(SetOrigin, KeepsEveryLineOfTheChainInOrder) {
  const Fields lines = {{"x-forwarded-for", "6.6.6.6"},
                        {"x-between", "1"},
                        {"x-forwarded-for", "203.0.113.7, 203.0.113.8"},
                        {"x-forwarded-for", ""}};
  for (const Origin& origin : {kStranger, kTrusted}) {
    EXPECT_THAT(after(lines, origin),
                UnorderedElementsAre(
                    Pair("x-between", "1"), Pair("x-forwarded-proto", "http"),
                    Pair("x-forwarded-for", "6.6.6.6, 203.0.113.7, 203.0.113.8, 10.0.0.9")));
  }
}

TEST(SetOrigin, ReplacesWhatAStrangerClaims) {
  EXPECT_THAT(after(kClaims, kStranger, "api.example:8080"),
              UnorderedElementsAre(
                  Pair("x-forwarded-for", "10.0.0.9"), Pair("x-forwarded-proto", "http"),
                  Pair("x-forwarded-host", "api.example:8080"), Pair("x-forwarded-port", "8080"),
                  Pair("x-real-ip", "10.0.0.9"), Pair("x-other", "kept"),
                  Pair("forwarded", "for=10.0.0.9;host=\"api.example:8080\";proto=http")));
}

TEST(SetOrigin, SaysNothingOfAHostThatNobodyNamed) {
  EXPECT_THAT(after({{"x-forwarded-host", "evil"}, {"x-forwarded-port", "1"}, {"forwarded", "x"}},
                    {.peer = "::1", .is_tls = true}, ""),
              UnorderedElementsAre(
                  Pair("x-forwarded-for", "::1"), Pair("x-forwarded-proto", "https"),
                  Pair("x-forwarded-port", "443"), Pair("forwarded", "for=\"[::1]\";proto=https")));
}

TEST(SetOrigin, BelievesATrustedPeer) {
  EXPECT_THAT(after(kClaims, kTrusted),
              UnorderedElementsAre(
                  Pair("x-forwarded-for", "10.0.0.9"), Pair("x-forwarded-proto", "https"),
                  Pair("x-forwarded-host", "evil.example"), Pair("x-forwarded-port", "444"),
                  Pair("x-real-ip", "6.6.6.6"), Pair("x-other", "kept"),
                  Pair("forwarded", "for=6.6.6.6, for=10.0.0.9;host=\"api.example\";proto=http")));
}

TEST(SetOrigin, TakesOutWhatAReplicaMayReadAsOneOfTheProxysOwn) {
  const Fields disguised = {{"x_forwarded_for", "6.6.6.6"},
                            {"x-forwarded_proto", "https"},
                            {"x_real_ip", "6.6.6.6"},
                            {"x_request_id", "1"},
                            {"x_penstock_attempt_id", "1"},
                            {"x-penstock-attempt-id", "1"},
                            {"x-penstock-reason", "1"},
                            {"x_forwarded_prefix", "/"},
                            {"x_other", "kept"}};
  for (const Origin& origin : {kStranger, kTrusted}) {
    EXPECT_THAT(after(disguised, origin),
                UnorderedElementsAre(Pair("x-forwarded-for", "10.0.0.9"),
                                     Pair("x-forwarded-proto", "http"), Pair("x_other", "kept")));
  }
}

TEST(RemoveOwnFields, LeavesWhatOthersSay) {
  http::Headers trailers = headersOf({{"x-sum", "1"},
                                      {"x-request-id", "1"},
                                      {"x_forwarded_for", "1"},
                                      {"x-forwarded-host", "1"},
                                      {"forwarded", "1"},
                                      {"x-penstock-reason", "1"},
                                      {"grpc-status", "0"},
                                      {"grpc-timeout", "1S"},
                                      {"x-sum", "2"}});
  removeOwnFields(trailers);
  EXPECT_THAT(fieldsOf(trailers),
              ElementsAre(Pair("x-sum", "1"), Pair("grpc-status", "0"), Pair("x-sum", "2")));
}

}  // namespace
}  // namespace penstock::proxy
