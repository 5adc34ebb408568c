// What a response may look like on an HTTP/1 connection to a replica, and how its body is
// delimited.

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/net/http/http1_messages.h"

namespace penstock::http {
namespace {

using Kind = Http1Framing::Kind;
using namespace std::string_view_literals;

ReadMessages read(std::string_view text, const Limits& limits = {}, bool to_head = false) {
  const ReadMessages whole = readMessages(text, limits, false, std::string_view::npos, to_head);
  const ReadMessages cut = readMessages(text, limits, false, 1, to_head);
  EXPECT_EQ(cut.error.has_value(), whole.error.has_value()) << text;
  return whole;
}

std::string ok(std::string_view fields) {
  return "HTTP/1.1 200 OK\r\n" + std::string(fields) + "\r\n";
}

TEST(Http1Response, IsTakenApart) {
  const auto got = read("HTTP/1.1 404 Not At All Found\r\nContent-Length: 2\r\nX: y\r\n\r\nno");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  EXPECT_EQ(got.messages[0].response.status, 404);
  EXPECT_EQ(got.messages[0].response.content_length, 2U);
  EXPECT_EQ(got.messages[0].response.headers.size(), 1U);
  EXPECT_EQ(got.messages[0].body, "no");
  EXPECT_TRUE(got.messages[0].complete);
  EXPECT_TRUE(got.messages[0].keep_alive);
}

TEST(Http1Response, MayLeaveOutTheReasonAndTheSpaceBeforeIt) {
  for (const std::string_view line : {"HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200"}) {
    const auto got = read(std::string(line) + "\r\nContent-Length: 2\r\nX: y\r\n\r\nok");
    ASSERT_FALSE(got.error.has_value()) << line;
    EXPECT_EQ(got.messages[0].response.status, 200) << line;
    EXPECT_EQ(got.messages[0].response.headers.get("x"), "y") << line;
    EXPECT_EQ(got.messages[0].body, "ok") << line;
  }
  for (const std::string_view line : {"HTTP/1.1 20x", "HTTP/1.1  20", "HTTP/1.1 2000"}) {
    EXPECT_TRUE(read(std::string(line) + "\r\n\r\n").error.has_value()) << line;
  }
}

TEST(Http1Response, WithoutFramingLastsUntilClose) {
  const auto got = read(ok("") + "some");
  ASSERT_FALSE(got.error.has_value());
  EXPECT_EQ(got.messages[0].framing.kind, Kind::kUntilClose);
  EXPECT_EQ(got.messages[0].body, "some");
  EXPECT_FALSE(got.messages[0].keep_alive);
}

TEST(Http1Response, ToHeadOrOfCertainStatusHasNoBody) {
  const auto head = read(ok("Content-Length: 5\r\n"), {}, true);
  EXPECT_EQ(head.messages[0].framing.kind, Kind::kNone);
  EXPECT_EQ(head.messages[0].response.content_length, 5U);
  EXPECT_EQ(read(ok("Transfer-Encoding: chunked\r\n"), {}, true).messages[0].framing.kind,
            Kind::kNone);
  for (const std::string_view status : {"100", "103", "204", "304"}) {
    const auto got = read("HTTP/1.1 " + std::string(status) + " x\r\nContent-Length: 5\r\n\r\n");
    ASSERT_FALSE(got.error.has_value());
    EXPECT_EQ(got.messages[0].framing.kind, Kind::kNone) << status;
  }
}

TEST(Http1Response, WithAmbiguousFramingIsRefused) {
  for (const std::string_view fields :
       {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n", "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\n", "x: a\r\n b\r\n", "x : a\r\n", "x: a\n", "x: a\rb\r\n"}) {
    EXPECT_TRUE(read(ok(fields)).error.has_value()) << fields;
  }
  EXPECT_TRUE(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").error.has_value());
}

TEST(Http1Response, WithBadStatusLineIsRefused) {
  for (const std::string_view line :
       {"HTTP/1.1 99 x"sv, "HTTP/1.1 600 x"sv, "HTTP/1.1 2000 x"sv, "HTTP/1.1 20"sv,
        "HTTP/2.0 200 x"sv, "HTTP/1.1  200 x"sv, "http/1.1 200 x"sv, "HTTP/1.1 +20 x"sv,
        "HTTP/1.1 200 a\0b"sv, "ICY 200 OK"sv, ""sv}) {
    EXPECT_TRUE(read(std::string(line) + "\r\nContent-Length: 0\r\n\r\n").error.has_value())
        << line;
  }
  EXPECT_FALSE(read("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").error.has_value());
}

TEST(Http1Response, KeepsTheConnectionAsItsVersionAndConnectionSay) {
  EXPECT_FALSE(read(ok("Content-Length: 0\r\nConnection: close\r\n")).messages[0].keep_alive);
  EXPECT_FALSE(read("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").messages[0].keep_alive);
  EXPECT_TRUE(read("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
                  .messages[0]
                  .keep_alive);
}

TEST(Http1Response, LimitsHoldExactly) {
  Limits limits;
  limits.max_header_fields = 2;
  EXPECT_FALSE(read(ok("a: 1\r\nb: 2\r\n"), limits).error.has_value());
  EXPECT_TRUE(read(ok("a: 1\r\nb: 2\r\nc: 3\r\n"), limits).error.has_value());
  limits = {};
  limits.max_header_bytes = 100;
  EXPECT_FALSE(read(ok("x: " + std::string(67, 'v') + "\r\n"), limits).error.has_value());
  EXPECT_TRUE(read(ok("x: " + std::string(68, 'v') + "\r\n"), limits).error.has_value());
  EXPECT_TRUE(read("HTTP/1.1 200 " + std::string(200, 'r'), limits).error.has_value());
}

}  // namespace
}  // namespace penstock::http
