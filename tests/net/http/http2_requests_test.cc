// Requests that nghttp2 would hand over as they are, or with a part left out in silence: none of
// them reaches a handler, and the connection survives each.

#include <string>
#include <vector>

#include "tests/net/http/http2_server_fixture.h"
#include "tests/support/allocated_bytes.h"

namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;

constexpr std::uint32_t kNoError = 0;
constexpr std::uint32_t kEnhanceYourCalm = 11;
constexpr std::uint32_t kProtocolError = 1;

FieldList replaced(FieldList fields, std::string_view name, std::string_view value) {
  for (auto& [known, old] : fields) {
    if (known == name) {
      old = value;
    }
  }
  return fields;
}

class Http2RequestsTest : public Http2ServerTest {
 protected:
  // Sends a request and then a good one; the first is to be answered with why.
  void expectRejected(const FieldList& fields, Rejection why) {
    SCOPED_TRACE(fields.back().first + ": " + fields.back().second);
    rejections_.clear();
    const std::size_t before = requests_.size();
    const std::int32_t bad = std::exchange(next_id_, next_id_ + 4);
    send(headersFrame(bad, fields, true) +
         headersFrame(bad + 2, requestFields("GET", "/ok"), true));
    ASSERT_EQ(rejections_, std::vector{why});
    ASSERT_EQ(requests_.size(), before + 1) << "only the good request reaches a handler";
    EXPECT_EQ(requests_.back()->head.path, "/ok");
    const auto frames = peer_->take();
    EXPECT_EQ(statusOf(frames, bad), 400 + static_cast<int>(why));
    EXPECT_TRUE(bodyOf(frames, bad).starts_with("rejected: "));
    requests_.back()->answer(200);
    settle();
    peer_->take();
    EXPECT_EQ(server_->activeStreams(), 0u);
  }
  // The same for what nghttp2 itself answers with a reset.
  void expectReset(const FieldList& fields) {
    SCOPED_TRACE(fields.back().first + ": " + fields.back().second);
    const std::size_t before = requests_.size();
    const std::int32_t bad = std::exchange(next_id_, next_id_ + 4);
    send(headersFrame(bad, fields, true) +
         headersFrame(bad + 2, requestFields("GET", "/ok"), true));
    ASSERT_EQ(requests_.size(), before + 1);
    EXPECT_EQ(requests_.back()->head.path, "/ok");
    EXPECT_EQ(resetOf(peer_->take(), bad), kProtocolError);
  }

  std::int32_t next_id_ = 1;
};

TEST_F(Http2RequestsTest, RefusesMalformedFieldsThatWouldBeLeftOut) {
  handshake();
  const std::string nul("a\0b", 3);
  for (const auto& [name, value] : FieldList{{"authorization", "a\r\nb"},
                                             {"authorization", "a\nb"},
                                             {"authorization", nul},
                                             {"authorization", " a"},
                                             {"authorization", "a\x7f"},
                                             {"authori zation", "a"},
                                             {"authorization:", "a"},
                                             {"author\xc3\xa9", "a"}}) {
    expectRejected(requestFields("GET", "/", {{name, value}}), Rejection::kBadRequest);
  }
  expectReset(requestFields("GET", "/", {{"Authorization", "a"}}));
}

TEST_F(Http2RequestsTest, RefusesAHostThatDiffersFromAuthority) {
  handshake();
  expectRejected(requestFields("GET", "/", {{"host", "other"}}), Rejection::kMisdirected);
  expectRejected(requestFields("GET", "/", {{"host", "model:81"}}), Rejection::kMisdirected);
}

TEST_F(Http2RequestsTest, RefusesOtherSchemes) {
  handshake();
  for (const std::string_view scheme : {"gopher", "ftp", "HTTPS+x"}) {
    expectRejected(replaced(requestFields("GET", "/"), ":scheme", scheme), Rejection::kBadRequest);
  }
}

TEST_F(Http2RequestsTest, RefusesPathsThatReadersDisagreeAbout) {
  handshake();
  for (const std::string_view path : {"/a#b", "/a\\b", "/caf\xc3\xa9", "/\x80"}) {
    expectRejected(requestFields("GET", path), Rejection::kBadRequest);
  }
  for (const std::string_view path : {"/a b", "/a\tb", "/a\x01", "", "relative", "*"}) {
    expectReset(requestFields("GET", path));
  }
}

TEST_F(Http2RequestsTest, AcceptsAsteriskForOptionsOnly) {
  handshake();
  send(headersFrame(1, requestFields("OPTIONS", "*"), true));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->head.path, "*");
}

TEST_F(Http2RequestsTest, RefusesUserinfoInAuthority) {
  handshake();
  expectRejected(replaced(requestFields("GET", "/"), ":authority", "user@model"),
                 Rejection::kBadRequest);
  FieldList by_host = {
      {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "u:p@model"}};
  expectRejected(by_host, Rejection::kBadRequest);
  by_host.back().second = "model/path";
  expectReset(by_host);
}

TEST_F(Http2RequestsTest, RefusesConnectAndTrace) {
  handshake();
  expectRejected({{":method", "CONNECT"}, {":authority", "model:443"}},
                 Rejection::kMethodNotAllowed);
  expectRejected(requestFields("TRACE", "/"), Rejection::kMethodNotAllowed);
}

TEST_F(Http2RequestsTest, ServesExtendedConnectToWebSocketOnly) {
  handshake();
  const auto connect = [](std::string_view protocol, const FieldList& more = {}) {
    FieldList fields = requestFields("CONNECT", "/", {{":protocol", std::string(protocol)}});
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  expectRejected(connect("connect-udp"), Rejection::kNotImplemented);
  expectRejected(connect("WebSocket"), Rejection::kNotImplemented);
  expectRejected(connect("websocket", {{"sec-websocket-version", "8"}}),
                 Rejection::kWebSocketVersion);
  expectRejected(connect("websocket", {{"content-length", "0"}}), Rejection::kBadRequest);
  expectRejected(connect("websocket"), Rejection::kBadRequest);  // ends with its head
  expectReset(requestFields("GET", "/", {{":protocol", "websocket"}}));
  expectReset({{":method", "CONNECT"}, {":authority", "model"}, {":protocol", "websocket"}});
}

TEST_F(Http2RequestsTest, RefusesFieldsOfAnotherConnection) {
  handshake();
  for (const auto& [name, value] : FieldList{{"connection", "close"},
                                             {"keep-alive", "1"},
                                             {"proxy-connection", "close"},
                                             {"transfer-encoding", "chunked"},
                                             {"upgrade", "h2c"},
                                             {"te", "gzip"},
                                             {"content-length", "1x"}}) {
    expectReset(requestFields("GET", "/", {{name, value}}));
  }
  expectReset(requestFields("GET", "/", {{"content-length", "1"}, {"content-length", "1"}}));
}

TEST_F(Http2RequestsTest, RefusesContentLengthThatIsNotTheBody) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/", {{"content-length", "3"}}), false) +
       dataFrame(1, "four", true));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->end, StreamEnd::kProtocolError);
  EXPECT_FALSE(requests_[0]->ended);
  EXPECT_EQ(resetOf(peer_->take(), 1), kProtocolError);
}

TEST_F(Http2RequestsTest, AnswersAnUnfinishedRequestAndStopsIt) {
  handshake();
  send(headersFrame(1, requestFields("POST", "/a#b"), false));
  const auto frames = peer_->take();
  EXPECT_EQ(statusOf(frames, 1), 400);
  EXPECT_EQ(resetOf(frames, 1), kNoError);
  // Late frames of it harm nobody.
  send(dataFrame(1, "late", true) + headersFrame(3, requestFields("GET", "/ok"), true));
  EXPECT_EQ(requests_.size(), 1u);
}

TEST_F(Http2RequestsTest, BoundsHeaderBytes) {
  limits_.max_header_bytes = 1000;
  handshake();
  std::size_t base = 0;
  for (const auto& [name, value] : requestFields("GET", "/", {{"x", ""}})) {
    base += name.size() + value.size() + 32;
  }
  send(headersFrame(1, requestFields("GET", "/", {{"x", std::string(1000 - base, 'a')}}), true));
  ASSERT_EQ(requests_.size(), 1u) << "at the limit";
  requests_[0]->answer(200);
  settle();
  peer_->take();
  next_id_ = 3;
  expectRejected(requestFields("GET", "/", {{"x", std::string(1001 - base, 'a')}}),
                 Rejection::kHeadersTooLarge);
}

TEST_F(Http2RequestsTest, BoundsHeaderFields) {
  handshake();
  FieldList fields = requestFields("GET", "/");
  for (int i = 0; i < 100; ++i) {
    fields.emplace_back("x" + std::to_string(i), "1");
  }
  send(headersFrame(1, fields, true));
  ASSERT_EQ(requests_.size(), 1u) << "at the limit";
  EXPECT_EQ(requests_[0]->head.headers.size(), 100u);
  requests_[0]->answer(200);
  settle();
  peer_->take();
  next_id_ = 3;
  fields.emplace_back("x100", "1");
  expectRejected(fields, Rejection::kHeadersTooLarge);
}

TEST_F(Http2RequestsTest, BoundsThePath) {
  limits_.max_path_bytes = 100;
  handshake();
  send(headersFrame(1, requestFields("GET", "/" + std::string(99, 'a')), true));
  ASSERT_EQ(requests_.size(), 1u) << "at the limit";
  requests_[0]->answer(200);
  settle();
  peer_->take();
  next_id_ = 3;
  expectRejected(requestFields("GET", "/" + std::string(100, 'a')), Rejection::kUriTooLong);
}

TEST_F(Http2RequestsTest, BoundsTrailers) {
  limits_.max_header_fields = 3;
  handshake();
  send(headersFrame(1, requestFields("POST", "/"), false) +
       headersFrame(1, {{"a", "1"}, {"b", "1"}, {"c", "1"}}, true) +
       headersFrame(3, requestFields("POST", "/"), false) +
       headersFrame(3, {{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}}, true) +
       headersFrame(5, requestFields("POST", "/"), false) + headersFrame(5, {{"a", "1\n2"}}, true));
  ASSERT_EQ(requests_.size(), 3u);
  EXPECT_TRUE(requests_[0]->trailers.has_value());
  EXPECT_FALSE(requests_[0]->end.has_value());
  EXPECT_FALSE(requests_[1]->trailers.has_value());
  EXPECT_EQ(requests_[1]->end, StreamEnd::kProtocolError);
  EXPECT_FALSE(requests_[2]->trailers.has_value());
  EXPECT_EQ(requests_[2]->end, StreamEnd::kProtocolError);
}

TEST_F(Http2RequestsTest, CountsTheCrumbsOfACookieAsOneField) {
  limits_.max_header_fields = 3;
  limits_.max_header_bytes = 1000;
  handshake();
  FieldList fields = requestFields("GET", "/", {{"a", "1"}, {"b", "2"}});
  std::string joined;
  for (int i = 0; i < 50; ++i) {
    const std::string crumb = "c" + std::to_string(i) + "=v";
    joined += (i == 0 ? "" : "; ") + crumb;
    fields.emplace_back("cookie", crumb);
  }
  send(headersFrame(1, fields, true));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->head.headers.get("cookie"), joined);
  EXPECT_EQ(requests_[0]->head.headers.count("cookie"), 1u);
  requests_[0]->answer(200);
  settle();
  peer_->take();
  next_id_ = 3;
  fields.emplace_back("c", "3");
  expectRejected(fields, Rejection::kHeadersTooLarge);
  fields.back() = {"cookie", std::string(600, 'x')};
  expectRejected(fields, Rejection::kHeadersTooLarge);
}

// A field of nearly 4 KiB goes into HPACK's table, and each further byte repeats it.
std::string blockWithReferences(std::size_t count) {
  std::string block = encodeFields(requestFields("GET", "/"));
  std::string indexed = encodeFields({{"x", std::string(4000, 'a')}});
  indexed[0] = 0x40;
  return block + indexed + std::string(count, static_cast<char>(0x80 | 62));
}

std::string blockFrames(std::int32_t stream, std::string_view block) {
  std::string bytes;
  for (std::size_t at = 0; at < block.size(); at += 16384) {
    const bool first = at == 0;
    const bool last = at + 16384 >= block.size();
    bytes +=
        makeFrame(first ? kHeadersFrame : kContinuationFrame,
                  static_cast<std::uint8_t>((first ? kEndStream : 0) | (last ? kEndHeaders : 0)),
                  stream, block.substr(at, 16384));
  }
  return bytes;
}

TEST_F(Http2RequestsTest, AnswersATooLargeBlockOfReferencesAndKeepsStep) {
  handshake();
  send(blockFrames(1, blockWithReferences(50)));
  EXPECT_EQ(rejections_, std::vector{Rejection::kHeadersTooLarge});
  EXPECT_TRUE(requests_.empty());
  EXPECT_EQ(statusOf(peer_->take(), 1), 400 + static_cast<int>(Rejection::kHeadersTooLarge));
  // The decoder has kept step.
  std::string again = encodeFields(requestFields("GET", "/"));
  again.push_back(static_cast<char>(0x80 | 62));
  send(makeFrame(kHeadersFrame, kEndHeaders | kEndStream, 3, again));
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->head.headers.get("x")->size(), 4000u);
}

TEST_F(Http2RequestsTest, EndsAConnectionWhoseReferencesBecomeTooMuch) {
  handshake();
  const std::string bytes = blockFrames(1, blockWithReferences(140'000));
  const std::size_t before = allocatedBytes();
  std::size_t most = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 65536) {
    send(std::string_view(bytes).substr(at, 65536));
    most = std::max(most, allocatedBytes());
  }
  EXPECT_LT(most - std::min(most, before), std::size_t{1} << 20)
      << "half a gigabyte of fields was kept";
  EXPECT_TRUE(requests_.empty());
  EXPECT_TRUE(peer_->sawEnd());
  const auto frames = peer_->take();
  ASSERT_EQ(count(frames, kGoawayFrame), 1u);
  EXPECT_EQ(wordAt(*std::ranges::find(frames, kGoawayFrame, &Frame::type), 4), kEnhanceYourCalm);
}

TEST_F(Http2RequestsTest, TakesABlockAsLargeAsItsLimitInAsManyFrames) {
  limits_.max_header_bytes = 512 * 1024;
  handshake();
  FieldList fields = requestFields("GET", "/");
  for (int i = 0; i < 60; ++i) {
    fields.emplace_back("x" + std::to_string(i), std::string(8000, 'a'));
  }
  send(blockFrames(1, encodeFields(fields)));
  ASSERT_EQ(requests_.size(), 1u) << "30 frames";
  EXPECT_EQ(requests_[0]->head.headers.size(), 60u);
}

TEST_F(Http2RequestsTest, TakesAHeaderBlockThatComesByteByByte) {
  handshake();
  const std::string block = encodeFields(requestFields("GET", "/"));
  std::string bytes = makeFrame(kHeadersFrame, kEndStream, 1, block.substr(0, 9));
  for (std::size_t at = 9; at < block.size(); at += 9) {
    bytes += makeFrame(kContinuationFrame, at + 9 >= block.size() ? kEndHeaders : 0, 1,
                       block.substr(at, 9));
  }
  for (const char byte : bytes) {
    send(std::string_view(&byte, 1));
  }
  ASSERT_EQ(requests_.size(), 1u);
  EXPECT_EQ(requests_[0]->head.path, "/");
}

}  // namespace
}  // namespace penstock::http
