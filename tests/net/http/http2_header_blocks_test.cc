// Header blocks that are large to send: up to what the configuration lets a message have they are
// sent, and what the peer does not take ends its stream, and no other, where everybody sees it.

#include <string>

#include "tests/net/http/http2_client_fixture.h"
#include "tests/net/http/http2_server_fixture.h"

namespace penstock::http {
namespace {

constexpr std::uint16_t kMaxHeaderListSize = 6;
constexpr std::uint32_t kInternalError = 2;

Headers largeFields(std::size_t kib) {
  Headers headers;
  for (std::size_t i = 0; i < kib; ++i) {
    headers.add("x-" + std::to_string(i), std::string(1024, 'v'));
  }
  return headers;
}

// How much of header blocks came on that stream.
std::size_t blockBytes(const std::vector<Frame>& frames, std::int32_t stream) {
  std::size_t bytes = 0;
  for (const Frame& frame : frames) {
    if (frame.stream == stream &&
        (frame.type == kHeadersFrame || frame.type == kContinuationFrame)) {
      bytes += frame.payload.size();
    }
  }
  return bytes;
}

class Http2ResponseBlocks : public Http2ServerTest {
 protected:
  SeenRequest& ask(std::int32_t id) {
    send(headersFrame(id, requestFields("GET", "/"), true));
    return *requests_.back();
  }
  void expectUnsendable(const SeenRequest& request, std::int32_t id) {
    settle();
    EXPECT_EQ(request.end, StreamEnd::kTooLarge);
    const auto frames = peer_->take();
    EXPECT_EQ(resetOf(frames, id), kInternalError);
    EXPECT_EQ(count(frames, kGoawayFrame), 0u);
    ask(id + 2).answer(200, "fine");
    settle();
    EXPECT_EQ(requests_.back()->end, StreamEnd::kComplete) << "the connection goes on";
    peer_->take();
  }
};

TEST_F(Http2ResponseBlocks, AreSentHoweverLargeTheyMayBeConfigured) {
  handshake();
  SeenRequest& request = ask(1);
  Headers fields = largeFields(800);
  EXPECT_TRUE(request.stream->fits(fields));
  request.answer(200, "ok", fields);
  settle();
  EXPECT_EQ(request.end, StreamEnd::kComplete);
  EXPECT_GT(blockBytes(peer_->take(), 1), 500u * 1024);  // Huffman's code makes them shorter
  SeenRequest& other = ask(3);
  other.stream->sendHead({}, false);
  other.stream->sendTrailers(fields);
  settle();
  EXPECT_EQ(other.end, StreamEnd::kComplete);
  EXPECT_GT(blockBytes(peer_->take(), 3), 500u * 1024);
}

TEST_F(Http2ResponseBlocks, LargerThanTheClientTakesEndTheirStream) {
  handshake({{kMaxHeaderListSize, 64 * 1024}});
  SeenRequest& request = ask(1);
  EXPECT_FALSE(request.stream->fits(largeFields(64)));
  EXPECT_TRUE(request.stream->fits(largeFields(60)));
  request.answer(200, "ok", largeFields(64));
  expectUnsendable(request, 1);
}

TEST_F(Http2ResponseBlocks, OfTrailersLargerThanTheClientTakesEndTheirStream) {
  handshake({{kMaxHeaderListSize, 64 * 1024}});
  SeenRequest& request = ask(1);
  request.stream->sendHead({}, false);
  request.sendBody("ok", false);
  request.stream->sendTrailers(largeFields(64));
  settle();
  EXPECT_EQ(bodyOf(peer_->seen(), 1), "ok") << "what came before them is not lost";
  expectUnsendable(request, 1);
}

TEST_F(Http2ResponseBlocks, LargerThanAnythingEndTheirStream) {
  handshake();
  for (std::int32_t id = 1; id < 20; id += 4) {
    SeenRequest& request = ask(id);
    if (id % 8 == 1) {
      request.answer(200, "ok", largeFields(2100));
    } else {
      request.stream->sendHead({}, false);
      request.stream->sendTrailers(largeFields(2100));
    }
    expectUnsendable(request, id);
  }
}

TEST_F(Http2ResponseBlocks, WithAFieldThatNobodyCouldDecodeEndTheirStream) {
  handshake();
  Headers fields;
  fields.add("x", std::string(64 * 1024 + 1, 'v'));
  SeenRequest& request = ask(1);
  EXPECT_FALSE(request.stream->fits(fields));
  request.answer(200, "ok", fields);
  expectUnsendable(request, 1);
}

TEST_F(Http2ResponseBlocks, OfInformationalResponsesThatDoNotFitAreLeftOut) {
  handshake({{kMaxHeaderListSize, 64 * 1024}});
  SeenRequest& request = ask(1);
  request.stream->sendInformational(103, largeFields(70));
  request.answer(200, "ok");
  settle();
  EXPECT_EQ(request.end, StreamEnd::kComplete);
  EXPECT_EQ(statusOf(peer_->take(), 1), 200);
}

TEST_F(Http2ResponseBlocks, OfAFewBytesAreSentToAClientThatAnnouncesLess) {
  handshake({{kMaxHeaderListSize, 10}});
  SeenRequest& request = ask(1);
  EXPECT_TRUE(request.stream->fits(Headers()));
  request.answer(200, "ok");
  settle();
  EXPECT_EQ(statusOf(peer_->take(), 1), 200);
}

class Http2RequestBlocks : public Http2ClientTest {
 protected:
  SeenResponse& askWith(Headers headers) {
    SeenResponse& response = open();
    RequestHead head = request();
    head.headers = std::move(headers);
    response.stream->sendHead(head, true);
    settle();
    return response;
  }
};

TEST_F(Http2RequestBlocks, AreSentHoweverLargeTheyMayBeConfigured) {
  handshake();
  askWith(largeFields(800));
  EXPECT_GT(blockBytes(peer_->take(), 1), 500u * 1024);
}

TEST_F(Http2RequestBlocks, ThatDoNotFitEndTheirStreamWithoutAByte) {
  handshake({{kMaxHeaderListSize, 64 * 1024}});
  Headers long_field;
  long_field.add("x", std::string(64 * 1024 + 1, 'v'));
  EXPECT_EQ(askWith(largeFields(64)).end, StreamEnd::kTooLarge);
  EXPECT_EQ(askWith(std::move(long_field)).end, StreamEnd::kTooLarge);
  EXPECT_TRUE(peer_->take().empty());
  SeenResponse& next = ask();
  settle();
  EXPECT_FALSE(next.end.has_value());
}

TEST_F(Http2RequestBlocks, LargerThanAnythingEndTheirStreamWithoutAByte) {
  handshake();
  EXPECT_EQ(askWith(largeFields(2100)).end, StreamEnd::kTooLarge);
  EXPECT_TRUE(peer_->take().empty());
  SeenResponse& next = ask();
  settle();
  EXPECT_FALSE(next.end.has_value());
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http2RequestBlocks, OfTrailersThatDoNotFitResetTheStream) {
  handshake({{kMaxHeaderListSize, 64 * 1024}});
  SeenResponse& response = ask(false);
  settle();
  response.stream->sendTrailers(largeFields(64));
  settle();
  EXPECT_EQ(response.end, StreamEnd::kTooLarge);
  bool reset = false;
  for (const Frame& frame : peer_->take()) {
    reset = reset || frame.type == kResetFrame;
  }
  EXPECT_TRUE(reset);
}

// HPACK references in a response end its connection, not the worker's other work.
TEST_F(Http2RequestBlocks, OfAReplicaThatBecomeTooMuchEndTheConnection) {
  handshake();
  SeenResponse& response = ask();
  settle();
  std::string block = encodeFields({{":status", "200"}});
  std::string indexed = encodeFields({{"x", std::string(4000, 'a')}});
  indexed[0] = 0x40;
  block += indexed + std::string(2000, static_cast<char>(0x80 | 62));
  peer_->send(makeFrame(kHeadersFrame, kEndHeaders, 1, block));
  settle();
  EXPECT_FALSE(response.head.has_value());
  EXPECT_EQ(response.end, StreamEnd::kProtocolError);
  EXPECT_TRUE(peer_->sawEnd());
}

}  // namespace
}  // namespace penstock::http
