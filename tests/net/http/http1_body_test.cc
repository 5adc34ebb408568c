// Bodies: by length, in chunks, and the limits on what stands between the chunks.

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/net/http/http1_messages.h"

namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;
using namespace std::string_view_literals;

constexpr std::string_view kHead =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

ReadMessages readChunks(std::string_view body, const Limits& limits = {}) {
  const std::string text = std::string(kHead) + std::string(body);
  const ReadMessages whole = readMessages(text, limits, true);
  const ReadMessages cut = readMessages(text, limits, true, 1);
  EXPECT_EQ(cut.error.has_value(), whole.error.has_value()) << body;
  if (!whole.messages.empty() && !cut.messages.empty() && !whole.error.has_value()) {
    EXPECT_EQ(cut.messages[0].body, whole.messages[0].body);
    EXPECT_EQ(cut.messages[0].complete, whole.messages[0].complete);
  }
  return whole;
}

TEST(Http1Body, InChunksIsJoined) {
  const auto got = readChunks("5\r\nhello\r\n00A;ext=\"1\"\r\n, chunked \r\n0;last\r\n\r\n");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  EXPECT_EQ(got.messages[0].body, "hello, chunked ");
  EXPECT_TRUE(got.messages[0].complete);
}

TEST(Http1Body, IsIncompleteWithoutItsLastLine) {
  EXPECT_FALSE(readChunks("5\r\nhello\r\n").messages[0].complete);
  EXPECT_FALSE(readChunks("5\r\nhello\r\n0\r\n").messages[0].complete);
  EXPECT_FALSE(readChunks("5\r\nhello\r\n0\r\nx: y\r\n").messages[0].complete);
}

TEST(Http1Body, WithBadChunkLineIsRefused) {
  for (const std::string_view body : {"+5\r\nhello\r\n"sv,       "-5\r\nhello\r\n"sv,
                                      "0x5\r\nhello\r\n"sv,      "5_0\r\nhello\r\n"sv,
                                      "5 \r\nhello\r\n"sv,       " 5\r\nhello\r\n"sv,
                                      "\r\nhello\r\n"sv,         "g\r\nhello\r\n"sv,
                                      "5\nhello\r\n"sv,          "5\rhello\r\n"sv,
                                      "5\r\nhello\n"sv,          "5\r\nhello\r0"sv,
                                      "5\r\nhello5\r\n"sv,       "5\r\nhelloo\r\n"sv,
                                      ";x\r\nhello\r\n"sv,       "5;a\nb\r\nhello\r\n"sv,
                                      "5;a\0b\r\nhello\r\n"sv,   "5;a\rb\r\nhello\r\n"sv,
                                      "10000000000000000\r\n"sv, "00000000000000005\r\nhello\r\n"sv,
                                      "0\r\nx: y\n\r\n"sv,       "0\r\n x: y\r\n\r\n"sv,
                                      "0\r\nx : y\r\n\r\n"sv,    "0\n\n"sv,
                                      "5\rXhello\r\n0\r\n\r\n"sv}) {
    const auto got = readChunks(body);
    EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << body;
  }
}

TEST(Http1Body, MayHaveTrailersButNotAboutFraming) {
  const auto got = readChunks("1\r\na\r\n0\r\nGrpc-Status: 0\r\nx: y\r\n\r\n");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  EXPECT_EQ(got.messages[0].trailers.get("grpc-status"), "0");
  EXPECT_EQ(got.messages[0].trailers.size(), 2U);
  for (const std::string_view field : {"Content-Length: 3", "Transfer-Encoding: chunked", "Host: b",
                                       "Connection: close", "Authorization: x"}) {
    EXPECT_TRUE(readChunks("0\r\n" + std::string(field) + "\r\n\r\n").error.has_value()) << field;
  }
}

TEST(Http1Body, LimitsHoldExactly) {
  Limits limits;
  limits.max_chunks = 2;
  EXPECT_FALSE(readChunks("1\r\na\r\n1\r\nb\r\n0\r\n\r\n", limits).error.has_value());
  EXPECT_TRUE(readChunks("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", limits)
                  .rejected(Rejection::kBadRequest));

  limits = {};
  limits.max_chunk_extension_bytes = 4;
  EXPECT_FALSE(readChunks("1;abc\r\na\r\n1;abc\r\nb\r\n0;abc\r\n\r\n", limits).error.has_value())
      << "the limit is for each line";
  EXPECT_TRUE(readChunks("1;abcd\r\na\r\n", limits).rejected(Rejection::kBadRequest));
  EXPECT_TRUE(readChunks("0;abcd\r\n", limits).rejected(Rejection::kBadRequest));

  limits = {};
  limits.max_header_fields = 3;
  EXPECT_FALSE(readChunks("0\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", limits).error.has_value());
  EXPECT_TRUE(readChunks("0\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n", limits)
                  .rejected(Rejection::kHeadersTooLarge));
}

TEST(Http1Body, MayBeLargerThanAnyNumberOf32Bits) {
  const auto got = readMessages(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nabc", {}, true);
  ASSERT_FALSE(got.error.has_value());
  EXPECT_EQ(got.messages[0].body, "abc");
  EXPECT_FALSE(got.messages[0].complete);
  EXPECT_FALSE(readChunks("ffffffffffffffff\r\nabc").error.has_value());
}

}  // namespace
}  // namespace penstock::http
