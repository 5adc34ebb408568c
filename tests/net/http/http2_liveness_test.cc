// A connection whose peer has gone without a word: it has to show that it lives before it is used
// again.

#include "tests/net/http/http2_client_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Http2LivenessTest : public Http2ClientTest {
 protected:
  std::size_t pings() {
    std::size_t count = 0;
    for (const Frame& frame : peer_->take()) {
      count += frame.type == kPingFrame ? 1 : 0;
    }
    return count;
  }
  // A request that was sent and has had no answer for so long.
  SeenResponse& askInVain(Duration silence) {
    SeenResponse& response = ask();
    settle();
    peer_->take();
    advance(silence);
    return response;
  }
  static std::string pong() { return makeFrame(kPingFrame, kAck, 0, std::string(8, '\0')); }
};

TEST_F(Http2LivenessTest, ASilentConnectionHasToAnswerBeforeItIsUsedAgain) {
  handshake();
  SeenResponse& late = askInVain(seconds(1));
  late.stream->reset(ResetReason::kCancel);
  EXPECT_FALSE(client_->canOpen());
  EXPECT_TRUE(client_->inDoubt());
  settle();
  EXPECT_EQ(pings(), 1u);
  advance(milliseconds(1999));
  EXPECT_FALSE(closed_.has_value());
  advance(milliseconds(1));
  EXPECT_TRUE(closed_.has_value());
}

TEST_F(Http2LivenessTest, AnyByteShowsThatItLives) {
  handshake();
  askInVain(seconds(1)).stream->reset(ResetReason::kCancel);
  settle();
  const int before = capacity_;
  send(pong());
  EXPECT_EQ(capacity_, before + 1) << "waiters are served at once";
  EXPECT_TRUE(client_->canOpen());
  EXPECT_FALSE(client_->inDoubt());
  advance(seconds(10));
  EXPECT_FALSE(closed_.has_value());
}

TEST_F(Http2LivenessTest, IsNotDoubtedWhenSomethingCameAShortWhileAgo) {
  handshake();
  SeenResponse& late = askInVain(seconds(1));
  SeenResponse& other = ask();
  settle();
  send(headersFrame(3, {{":status", "200"}}, true));
  EXPECT_EQ(other.end, StreamEnd::kComplete);
  advance(milliseconds(499));
  late.stream->doubt();
  settle();
  EXPECT_EQ(pings(), 0u);
  EXPECT_TRUE(client_->canOpen());
  // What came after the request says nothing of a peer that vanished after that.
  advance(milliseconds(1));
  late.stream->doubt();
  settle();
  EXPECT_EQ(pings(), 1u);
}

TEST_F(Http2LivenessTest, IsNotDoubtedForAnImpatientClient) {
  handshake();
  askInVain(milliseconds(499)).stream->reset(ResetReason::kCancel);
  settle();
  EXPECT_EQ(pings(), 0u);
  EXPECT_TRUE(client_->canOpen());
  // The silence counts, not the patience of the last.
  askInVain(milliseconds(1)).stream->reset(ResetReason::kCancel);
  settle();
  EXPECT_EQ(pings(), 1u);
}

TEST_F(Http2LivenessTest, IsNotDoubtedForARequestThatWasNeverSent) {
  handshake();
  advance(seconds(1));
  ask().stream->reset(ResetReason::kCancel);
  settle();
  EXPECT_EQ(pings(), 0u);
  EXPECT_TRUE(client_->canOpen());
}

TEST_F(Http2LivenessTest, ADeadConnectionEndsWhatNobodyWaitsForAnyLonger) {
  handshake();
  SeenResponse& abandoned = askInVain(seconds(1));
  abandoned.stream->doubt();
  advance(seconds(2));
  EXPECT_EQ(abandoned.end, StreamEnd::kConnectionLost);
  EXPECT_TRUE(closed_.has_value());
}

// A server may be too busy to answer: what is waited for is left to it, and nothing is added.
TEST_F(Http2LivenessTest, ASilentConnectionKeepsTheStreamsThatAreWaitedFor) {
  handshake();
  SeenResponse& doubted = askInVain(seconds(1));
  SeenResponse& awaited = ask();
  settle();
  doubted.stream->doubt();
  advance(seconds(2));
  EXPECT_FALSE(closed_.has_value());
  EXPECT_EQ(draining_, 1) << "others get a connection of their own";
  EXPECT_FALSE(client_->canOpen());
  EXPECT_FALSE(client_->inDoubt());
  send(headersFrame(3, {{":status", "200"}}, true));
  EXPECT_EQ(awaited.end, StreamEnd::kComplete);
  EXPECT_FALSE(doubted.end.has_value());
  EXPECT_FALSE(client_->canOpen());
}

TEST_F(Http2LivenessTest, ASilentConnectionIsClosedWithTheLastStreamThatIsWaitedFor) {
  handshake();
  SeenResponse& first = askInVain(seconds(1));
  SeenResponse& last = ask();
  settle();
  first.stream->doubt();
  advance(seconds(60));
  EXPECT_FALSE(closed_.has_value());
  last.stream->doubt();
  advance(Duration::zero());
  EXPECT_EQ(first.end, StreamEnd::kConnectionLost);
  EXPECT_EQ(last.end, StreamEnd::kConnectionLost);
  EXPECT_TRUE(closed_.has_value());
}

}  // namespace
}  // namespace penstock::http
