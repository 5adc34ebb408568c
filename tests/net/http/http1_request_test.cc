// What a request may look like on an HTTP/1 connection, and what is refused because another parser
// on the way could read it differently.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/http/http1_messages.h"

namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;
using namespace std::string_literals;
using namespace std::string_view_literals;

ReadMessages read(std::string_view text, const Limits& limits = {}) {
  const ReadMessages whole = readMessages(text, limits, true);
  // However the bytes are cut, the verdict is the same.
  for (const std::size_t piece : {1U, 2U, 7U}) {
    const ReadMessages cut = readMessages(text, limits, true, piece);
    EXPECT_EQ(cut.error.has_value(), whole.error.has_value()) << text;
    if (cut.error.has_value() && whole.error.has_value()) {
      EXPECT_EQ(cut.error->why, whole.error->why) << text;
    }
    EXPECT_EQ(cut.messages.size(), whole.messages.size()) << text;
  }
  return whole;
}

// A request with these fields beside Host.
std::string withFields(std::string_view fields, std::string_view line = "POST /x HTTP/1.1") {
  return std::string(line) + "\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

void expectRefused(std::string_view text, Rejection why) {
  const ReadMessages got = read(text);
  ASSERT_TRUE(got.error.has_value()) << "accepted: " << text;
  EXPECT_EQ(got.error->why, why) << text << " -> " << got.error->detail;
}

TEST(Http1Request, IsTakenApart) {
  const auto got = read(
      "POST /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nX-Upper:  two words \t\r\n"
      "Content-Length: 5\r\nempty:\r\n\r\nhello");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  ASSERT_EQ(got.messages.size(), 1U);
  const ReadMessage& message = got.messages[0];
  EXPECT_EQ(message.request.method, "POST");
  EXPECT_EQ(message.request.path, "/a/b?c=d");
  EXPECT_EQ(message.request.authority, "example.com:8080");
  EXPECT_EQ(message.request.scheme, "http");
  EXPECT_EQ(message.request.content_length, 5U);
  EXPECT_EQ(message.request.headers.get("x-upper"), "two words");
  EXPECT_EQ(message.request.headers.get("empty"), "");
  EXPECT_EQ(message.request.headers.size(), 2U) << "host and content-length are members";
  EXPECT_EQ(message.body, "hello");
  EXPECT_TRUE(message.complete);
  EXPECT_TRUE(message.keep_alive);
}

TEST(Http1Request, SeveralFollowOneAnother) {
  const auto got = read(
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
      "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
      "\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  ASSERT_EQ(got.messages.size(), 3U);
  EXPECT_EQ(got.messages[1].body, "abc");
  EXPECT_FALSE(got.messages[1].request.content_length.has_value());
  EXPECT_EQ(got.messages[2].request.path, "/3") << "one empty line may stand before a request";
}

TEST(Http1Request, WithLengthAndCodingIsRefusedInEitherOrder) {
  expectRefused(withFields("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
                Rejection::kBadRequest);
  expectRefused(withFields("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
                Rejection::kBadRequest);
}

TEST(Http1Request, WithACodingOtherThanChunkedIsRefused) {
  for (const std::string_view coding :
       {"xchunked", "chunked, chunked", "chunked, gzip", "gzip", "identity", "\"chunked\"", "",
        "chunked;q=1", "chunked,", ",chunked"}) {
    const auto got = read(withFields("Transfer-Encoding: " + std::string(coding) + "\r\n"));
    EXPECT_TRUE(got.error.has_value()) << coding;
  }
  expectRefused(withFields("Transfer-Encoding: gzip, chunked\r\n"), Rejection::kNotImplemented);
  expectRefused(withFields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                Rejection::kBadRequest);
  expectRefused(withFields("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0"),
                Rejection::kBadRequest);
}

TEST(Http1Request, WithMoreThanOneLengthIsRefusedEqualOrNot) {
  expectRefused(withFields("Content-Length: 3\r\nContent-Length: 3\r\n"), Rejection::kBadRequest);
  expectRefused(withFields("Content-Length: 3\r\nContent-Length: 4\r\n"), Rejection::kBadRequest);
  expectRefused(withFields("Content-Length: 3, 3\r\n"), Rejection::kBadRequest);
}

TEST(Http1Request, WithALengthThatIsNoPlainNumberIsRefused) {
  for (const std::string_view length :
       {"+3", "-3", "1_0", "0x3", "3 ", "3.0", "", "3e0", " 3 4", "18446744073709551616", "٣"}) {
    const auto got = read(withFields("Content-Length:" + std::string(length) + "\r\n"));
    if (length == "3 ") {
      EXPECT_FALSE(got.error.has_value()) << "white space around a value is no part of it";
    } else {
      EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << length;
    }
  }
}

TEST(Http1Request, WithBareCrOrLfIsRefused) {
  expectRefused("GET / HTTP/1.1\nHost: a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\nHost: a\n\r\n", Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\nHost: a\r\n\n", Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\nHost: a\r\nx: 1\ry: 2\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\nHost: a\r\nx: 1\r\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
}

TEST(Http1Request, WithFoldedFieldIsRefused) {
  expectRefused(withFields("x: 1\r\n 2\r\n"), Rejection::kBadRequest);
  expectRefused(withFields("x: 1\r\n\t2\r\n"), Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
}

TEST(Http1Request, WithBadFieldNameIsRefused) {
  for (const std::string_view field : {"x : 1"sv, "x\t: 1"sv, " : 1"sv, ": 1"sv, "x"sv, "x y: 1"sv,
                                       "x\0y: 1"sv, "x\x7fy: 1"sv, "x\xc3\xa9: 1"sv, "x(y): 1"sv}) {
    const auto got = read(withFields(std::string(field) + "\r\n"));
    EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << field;
  }
}

TEST(Http1Request, WithControlCharacterInAValueIsRefused) {
  for (const char c : {'\0', '\x01', '\x08', '\x0b', '\x1f', '\x7f'}) {
    const auto got = read(withFields("x: a"s + c + "b\r\n"));
    EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << static_cast<int>(c);
  }
  EXPECT_FALSE(read(withFields("x: a\tb\r\n")).error.has_value());
  EXPECT_FALSE(read(withFields("x: a\xc3\xa9\r\n")).error.has_value());
}

TEST(Http1Request, NeedsExactlyOneValidHost) {
  expectRefused("GET / HTTP/1.1\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Rejection::kBadRequest);
  for (const std::string_view host : {"a b", "a/b", "u@a", "a:b", "a:123456", "a:1:2", "a?b", "a#b",
                                      "[::1", "::1", "[]", "a\\b", "[::1]x", "a,b]"}) {
    const auto got = read("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << host;
  }
  for (const std::string_view host : {"a", "a.b-c_d", "1.2.3.4:80", "[::1]", "[::1]:8080", "a:"}) {
    const auto got = read("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    EXPECT_FALSE(got.error.has_value()) << host;
  }
}

TEST(Http1Request, WithAnEmptyHostHasNoAuthority) {
  const auto got = read("GET / HTTP/1.1\r\nHost:\r\n\r\n");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  EXPECT_EQ(got.messages[0].request.authority, "");
}

TEST(Http1Request, OfHttp10NeedsNoHostAndKeepsAliveOnlyWhenAsked) {
  auto got = read("GET / HTTP/1.0\r\n\r\n");
  ASSERT_FALSE(got.error.has_value());
  EXPECT_EQ(got.messages[0].request.authority, "");
  EXPECT_FALSE(got.messages[0].keep_alive);
  got = read("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  ASSERT_FALSE(got.error.has_value());
  EXPECT_TRUE(got.messages[0].keep_alive);
  got = read(withFields("Connection: x, Close\r\n"));
  ASSERT_FALSE(got.error.has_value());
  EXPECT_FALSE(got.messages[0].keep_alive);
}

TEST(Http1Request, InAbsoluteFormSaysTheHostItself) {
  const auto got = read("GET http://A.example:80?q HTTP/1.1\r\nHost: a.example\r\n\r\n");
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  EXPECT_EQ(got.messages[0].request.path, "/?q");
  EXPECT_EQ(got.messages[0].request.authority, "A.example:80");
  for (const std::string_view host : {"b", "a:81", ""}) {
    const auto other = read("GET http://a/x HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    ASSERT_FALSE(other.error.has_value()) << other.error->detail;
    EXPECT_EQ(other.messages[0].request.authority, "a");
    EXPECT_EQ(other.messages[0].request.path, "/x");
  }
  expectRefused("GET http://a/ HTTP/1.1\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET http://a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET gopher://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
  expectRefused("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Rejection::kBadRequest);
}

TEST(Http1Request, WithBadTargetIsRefused) {
  for (const std::string_view target :
       {"x", "*", "/a#b", "/a\\b", "/\xc3\xa9", "/a\x7f", "/a\tb", "a:80", "//[", "?x"}) {
    const auto got = read("GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n\r\n");
    if (target == "//[") {
      EXPECT_FALSE(got.error.has_value());
    } else {
      EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << target;
    }
  }
  EXPECT_FALSE(read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").error.has_value());
  for (const std::string_view line :
       {"GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET /", "GET", "GE(T / HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/1.1x", "GET / HTTP/11", "GET\t/ HTTP/1.1"}) {
    const auto got = read(std::string(line) + "\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(got.rejected(Rejection::kBadRequest)) << line;
  }
}

TEST(Http1Request, OfAnotherVersionIsRefusedAsSuch) {
  for (const std::string_view version : {"HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/3.1"}) {
    const auto got = read("GET / " + std::string(version) + "\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(got.rejected(Rejection::kVersionNotSupported)) << version;
  }
}

TEST(Http1Request, WithConnectOrTraceIsNotAllowed) {
  expectRefused("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Rejection::kMethodNotAllowed);
  expectRefused(withFields("", "TRACE / HTTP/1.1"), Rejection::kMethodNotAllowed);
}

TEST(Http1Request, UpgradesToOtherThanWebSocketAreIgnored) {
  for (const std::string_view upgrade : {"h2c", "h2,h2c", "TLS/1.2", "h2c, other"}) {
    const auto ignored =
        read(withFields("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + std::string(upgrade) +
                        "\r\nHTTP2-Settings: AAMA\r\nContent-Length: 2\r\n") +
             "ab");
    ASSERT_FALSE(ignored.error.has_value()) << ignored.error->detail;
    EXPECT_EQ(ignored.messages[0].body, "ab");
    EXPECT_EQ(ignored.messages[0].request.protocol, "");
    EXPECT_TRUE(ignored.messages[0].request.headers.empty());
  }

  EXPECT_EQ(read(withFields("Connection: Upgrade\r\nUpgrade: other\r\n", "GET / HTTP/1.1"))
                .messages.at(0)
                .request.method,
            "GET");
  expectRefused(
      withFields("Connection: Upgrade\r\nUpgrade: other, websocket\r\nContent-Length: 2\r\n"),
      Rejection::kBadRequest);
}

TEST(Http1Request, UpgradeToWebSocketIsConnectAsOverHttp2) {
  const std::string upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const std::string version = "Sec-WebSocket-Version: 13\r\n";
  const auto asked = read(withFields(upgrade + key + version + "Sec-WebSocket-Protocol: chat\r\n",
                                     "GET /chat HTTP/1.1"));
  ASSERT_FALSE(asked.error.has_value()) << asked.error->detail;
  const RequestHead& head = asked.messages[0].request;
  EXPECT_TRUE(head.isWebSocket());
  EXPECT_EQ(head.path, "/chat");
  EXPECT_EQ(head.headers.size(), 1U);
  EXPECT_EQ(head.headers.get("sec-websocket-protocol"), "chat");
  EXPECT_EQ(asked.messages[0].websocket_key, "dGhlIHNhbXBsZSBub25jZQ==");

  const auto refused = [&](const std::string& fields, Rejection why,
                           std::string_view line = "GET / HTTP/1.1") {
    expectRefused(withFields(upgrade + fields, line), why);
  };
  refused(version, Rejection::kBadRequest);
  refused(version + "Sec-WebSocket-Key: short==\r\n", Rejection::kBadRequest);
  refused(version + key + key, Rejection::kBadRequest);
  refused(version + key + "Content-Length: 2\r\n", Rejection::kBadRequest);
  refused(version + key, Rejection::kBadRequest, "POST / HTTP/1.1");
  refused(key, Rejection::kWebSocketVersion);
  refused(key + version + version, Rejection::kWebSocketVersion);
  refused(key + "Sec-WebSocket-Version: 8\r\n", Rejection::kWebSocketVersion);

  EXPECT_EQ(
      read(withFields(upgrade + key + version, "GET / HTTP/1.0")).messages.at(0).request.method,
      "GET")
      << "HTTP/1.0 knows no upgrade";
  EXPECT_FALSE(read(withFields("Upgrade: websocket\r\nContent-Length: 0\r\n")).error.has_value())
      << "an upgrade that connection does not name is none";
}

TEST(Http1Request, LosesHopByHopFieldsButNotProtectedOnes) {
  const auto got = read(withFields(
      "Connection: close, X-Private, Authorization, Host, Content-Length, x-penstock-attempt-id\r\n"
      "X-Private: 1\r\nAuthorization: secret\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
      "Proxy-Connection: close\r\nX-Penstock-Attempt-Id: 7\r\nContent-Length: 0\r\nX-Kept: 1\r\n"));
  ASSERT_FALSE(got.error.has_value()) << got.error->detail;
  const Headers& headers = got.messages[0].request.headers;
  EXPECT_EQ(headers.get("authorization"), "secret");
  EXPECT_EQ(headers.get("x-penstock-attempt-id"), "7");
  EXPECT_EQ(headers.get("x-kept"), "1");
  EXPECT_EQ(headers.size(), 3U);
  EXPECT_EQ(got.messages[0].request.authority, "a");
  EXPECT_EQ(got.messages[0].request.content_length, 0U);
}

TEST(Http1Request, ExpectationIsTakenOutAndAnUnknownOneLeft) {
  auto got = read(withFields("Expect: 100-Continue\r\nContent-Length: 3\r\n") + "abc");
  ASSERT_FALSE(got.error.has_value());
  EXPECT_TRUE(got.messages[0].expects_continue);
  EXPECT_FALSE(got.messages[0].request.headers.has("expect"));
  got = read(withFields("Expect: 100-continue\r\n"));
  EXPECT_FALSE(got.messages[0].expects_continue) << "there is no body to wait for";
  got = read(withFields("Expect: miracles\r\n"));
  EXPECT_EQ(got.messages[0].request.headers.get("expect"), "miracles");
}

TEST(Http1Request, OfAnotherProtocolIsToldAtItsFirstByte) {
  EXPECT_TRUE(read("\x16\x03\x01").rejected(Rejection::kBadRequest));
  EXPECT_FALSE(read("\r").error.has_value());
}

TEST(Http1Request, LimitsHoldExactly) {
  Limits limits;
  limits.max_path_bytes = 10;
  const auto path = [](std::size_t size) {
    return "GET /" + std::string(size - 1, 'p') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  EXPECT_FALSE(read(path(10), limits).error.has_value());
  EXPECT_TRUE(read(path(11), limits).rejected(Rejection::kUriTooLong));
  EXPECT_TRUE(read("GET /" + std::string(2000, 'p'), limits).rejected(Rejection::kUriTooLong))
      << "before the line has ended";

  limits = {};
  limits.max_header_fields = 3;
  EXPECT_FALSE(read(withFields("a: 1\r\nb: 2\r\n"), limits).error.has_value());
  EXPECT_TRUE(
      read(withFields("a: 1\r\nb: 2\r\nc: 3\r\n"), limits).rejected(Rejection::kHeadersTooLarge));

  limits = {};
  limits.max_header_bytes = 200;
  // host, a: 4 + 1 + 32; x: 1 + 32; so 130 bytes are left for x's value.
  EXPECT_FALSE(read(withFields("x: " + std::string(130, 'v') + "\r\n"), limits).error.has_value());
  EXPECT_TRUE(read(withFields("x: " + std::string(131, 'v') + "\r\n"), limits)
                  .rejected(Rejection::kHeadersTooLarge));
  EXPECT_TRUE(read("GET / HTTP/1.1\r\nx: " + std::string(400, 'v'), limits)
                  .rejected(Rejection::kHeadersTooLarge))
      << "before the line has ended";
}

}  // namespace
}  // namespace penstock::http
