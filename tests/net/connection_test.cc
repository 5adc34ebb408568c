#include "net/connection.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/net/recording_handler.h"
#include "tests/net/socket_pair.h"
#include "tests/support/allocated_bytes.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ConnectionTest : public testing::Test {
 protected:
  void start() {
    connection_ = std::make_unique<Connection>(loop_, std::move(sockets_.near), peer_, nullptr,
                                               Connection::Options{});
    connection_->start(handler_);
  }
  bool turnUntil(const std::function<bool()>& done) { return net::turnUntil(loop_, done); }
  void say(std::string_view text) {
    connection_->output().append(text);
    connection_->flushLater();
  }
  // The handler offers size bytes, in parts, whenever it is asked.
  void offer(std::size_t size, std::size_t part) {
    offered_left_ = size;
    handler_.when_asked = [this, part](Buffer& output) {
      const std::size_t next = std::min(part, offered_left_);
      output.append(std::string(next, 'o'));
      offered_left_ -= next;
    };
    connection_->flushLater();
  }
  void limitSendBuffer() const {
    const int small = 16 * 1024;
    ::setsockopt(sockets_.near.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  }
  // Until the socket is so full that the handler is asked for no more.
  bool turnUntilBlocked() {
    return turnUntil([this, asked = -1]() mutable {
      return std::exchange(asked, handler_.asked) == handler_.asked;
    });
  }
  bool closedWith(CloseReason reason) {
    return turnUntil([this] { return handler_.closed > 0; }) && handler_.close_reason == reason &&
           handler_.closed == 1 && !connection_->isOpen();
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
  const Address peer_ = Address::loopback(1);
  SocketPair sockets_;
  RecordingHandler handler_;
  std::unique_ptr<Connection> connection_;
  std::size_t offered_left_ = 0;
};

TEST_F(ConnectionTest, TellsAtOnceThatAnAcceptedPlainConnectionIsThere) {
  start();
  EXPECT_EQ(handler_.connected, 1);
  EXPECT_TRUE(connection_->isOpen());
  EXPECT_FALSE(connection_->isTls());
  EXPECT_EQ(connection_->alpn(), "");
  EXPECT_EQ(connection_->peer().toString(), "127.0.0.1:1");
  EXPECT_TRUE(connection_->local().isLoopback());
}

TEST_F(ConnectionTest, EndsItsOutputBehindWhatWaitsAndReadsOn) {
  limitSendBuffer();
  start();
  say(std::string(1 << 20, 'e'));
  connection_->endOutput();
  std::string heard;
  EXPECT_TRUE(turnUntil([&] { return !sockets_.farReads(heard); }));
  EXPECT_EQ(heard.size(), 1U << 20);
  EXPECT_TRUE(connection_->isOpen());
  sockets_.farSends("still");
  EXPECT_TRUE(turnUntil([&] { return handler_.received == "still"; }));
  sockets_.far.reset();
  EXPECT_TRUE(turnUntil([&] { return handler_.peer_closed == 1; }));
}

TEST_F(ConnectionTest, CarriesBytesBothWays) {
  start();
  sockets_.farSends("question");
  handler_.when_bytes = [this] { say("answer"); };
  std::string heard;
  EXPECT_TRUE(turnUntil([&] { return sockets_.farReads(heard) && heard == "answer"; }));
  EXPECT_EQ(handler_.received, "question");
  EXPECT_FALSE(handler_.asked_inside_bytes);
}

TEST_F(ConnectionTest, AsksAgainAfterEachWriteUntilNothingIsAppended) {
  start();
  offer(3000, 1000);
  std::string heard;
  EXPECT_TRUE(turnUntil([&] { return sockets_.farReads(heard) && heard.size() == 3000; }));
  EXPECT_EQ(handler_.asked, 4);
}

TEST_F(ConnectionTest, AsksForNoMoreWhileOutputWaits) {
  limitSendBuffer();
  start();
  constexpr std::size_t kTotal = 2 << 20;
  constexpr std::size_t kPart = 256 * 1024;
  offer(kTotal, kPart);
  std::string heard;
  std::size_t most = 0;
  EXPECT_TRUE(turnUntil([&] {
    most = std::max(most, connection_->output().size());
    return sockets_.farReads(heard) && heard.size() == kTotal;
  }));
  EXPECT_GT(most, 0U);
  EXPECT_LE(most, 64 * 1024 + kPart);
}

TEST_F(ConnectionTest, ReadsABoundedPartOfAFloodEachTurn) {
  start();
  const std::string flood(4 << 20, 'f');
  std::size_t most = 0;
  std::size_t sent = 0;
  for (int turn = 0; turn < 200 && handler_.received.size() < flood.size(); ++turn) {
    while (sent < flood.size()) {
      const std::size_t now = sockets_.farSends(std::string_view(flood).substr(sent));
      if (now == 0) {
        break;
      }
      sent += now;
    }
    const std::size_t before = handler_.received.size();
    runTurn(loop_);
    most = std::max(most, handler_.received.size() - before);
  }
  EXPECT_GT(most, 0U);
  EXPECT_LE(most, 256U * 1024);
}

TEST_F(ConnectionTest, IsReadOnlyWhenEveryReasonToPauseHasEnded) {
  start();
  connection_->pause(PauseReason::kBodyBuffered);
  connection_->pause(PauseReason::kBodyBuffered);
  connection_->pause(PauseReason::kOutputBuffered);
  sockets_.farSends("later");
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  connection_->resume(PauseReason::kBodyBuffered);
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(handler_.received, "");
  connection_->resume(PauseReason::kOutputBuffered);
  EXPECT_TRUE(turnUntil([&] { return handler_.received == "later"; }));
}

TEST_F(ConnectionTest, StopsReadingWhenPausedByWhatItRead) {
  start();
  handler_.when_bytes = [this] { connection_->pause(PauseReason::kPipelined); };
  sockets_.farSends("first");
  ASSERT_TRUE(turnUntil([&] { return handler_.received == "first"; }));
  sockets_.farSends("second");
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(handler_.received, "first");
  connection_->resume(PauseReason::kPipelined);
  EXPECT_TRUE(turnUntil([&] { return handler_.received == "firstsecond"; }));
}

TEST_F(ConnectionTest, NoticesWhilePausedThatThePeerLeft) {
  start();
  connection_->pause(PauseReason::kPipelined);
  sockets_.far.reset();
  EXPECT_TRUE(turnUntil([&] { return handler_.peer_closed == 1; }));
}

TEST_F(ConnectionTest, TellsBytesBeforeTheEndOfFileThatFollowsThem) {
  start();
  connection_->pause(PauseReason::kBodyBuffered);
  sockets_.farSends("last words");
  ::shutdown(sockets_.far.get(), SHUT_WR);
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(handler_.peer_closed, 0);
  connection_->resume(PauseReason::kBodyBuffered);
  EXPECT_TRUE(turnUntil([&] { return handler_.peer_closed == 1; }));
  EXPECT_EQ(handler_.received, "last words");
}

TEST_F(ConnectionTest, MayWriteAfterThePeersEndOfFile) {
  start();
  handler_.when_peer_closed = [this] { say("still here"); };
  ::shutdown(sockets_.far.get(), SHUT_WR);
  std::string heard;
  EXPECT_TRUE(turnUntil([&] { return sockets_.farReads(heard) && heard == "still here"; }));
  EXPECT_EQ(handler_.peer_closed, 1);
  EXPECT_EQ(handler_.closed, 0);
}

TEST_F(ConnectionTest, TellsAReset) {
  start();
  sockets_.farResets();
  EXPECT_TRUE(closedWith(CloseReason::kPeerReset));
}

TEST_F(ConnectionTest, SurvivesWritingToAPeerThatIsGone) {
  start();
  connection_->pause(PauseReason::kOverloaded);
  sockets_.far.reset();
  handler_.when_asked = [](Buffer& output) { output.append("anyone there?"); };
  EXPECT_TRUE(turnUntil([&] {
    connection_->flushLater();
    return handler_.closed > 0;
  }));
  EXPECT_EQ(handler_.close_reason, CloseReason::kPeerReset);
}

TEST_F(ConnectionTest, ClosesWhenOutputWaitsTooLongWithoutProgress) {
  start();
  offer(64 << 20, 65536);
  ASSERT_TRUE(turnUntilBlocked());
  clock_.advance(seconds(29));
  runTurn(loop_);
  EXPECT_TRUE(connection_->isOpen());
  clock_.advance(seconds(1));
  EXPECT_TRUE(closedWith(CloseReason::kWriteTimeout));
}

TEST_F(ConnectionTest, AllowsASlowReaderThatMakesProgress) {
  limitSendBuffer();
  start();
  offer(64 << 20, 65536);
  std::string heard;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(turnUntilBlocked());
    clock_.advance(seconds(20));
    const int asked = handler_.asked;
    ASSERT_TRUE(turnUntil([&] { return sockets_.farReads(heard) && handler_.asked > asked; }));
  }
  EXPECT_TRUE(connection_->isOpen());
}

TEST_F(ConnectionTest, HasNoWriteTimeoutWhenNothingWaits) {
  start();
  say("short");
  std::string heard;
  ASSERT_TRUE(turnUntil([&] { return sockets_.farReads(heard) && heard == "short"; }));
  clock_.advance(std::chrono::hours(1));
  runTurn(loop_);
  EXPECT_TRUE(connection_->isOpen());
}

TEST_F(ConnectionTest, TellsNothingWhenClosedByItsHandler) {
  start();
  handler_.when_bytes = [this] { connection_->close(); };
  sockets_.farSends("x");
  ASSERT_TRUE(turnUntil([&] { return !connection_->isOpen(); }));
  connection_->flushLater();
  connection_->closeAfterFlush();
  connection_->resume(PauseReason::kBodyBuffered);
  runTurn(loop_);
  EXPECT_EQ(handler_.closed, 0);
  std::string heard;
  EXPECT_FALSE(sockets_.farReads(heard));
}

TEST_F(ConnectionTest, MayBeGivenUpInsideAnyOfItsCalls) {
  const auto give_up = [this] { loop_.destroyLater(std::move(connection_)); };
  const std::vector<std::function<void(SocketPair&)>> provocations{
      [&](SocketPair& sockets) {
        handler_.when_bytes = give_up;
        sockets.farSends("x");
      },
      [&](SocketPair&) {
        handler_.when_asked = [&](Buffer&) { give_up(); };
        connection_->flushLater();
      },
      [&](SocketPair& sockets) {
        handler_.when_peer_closed = give_up;
        sockets.far.reset();
      },
      [&](SocketPair& sockets) {
        handler_.when_closed = give_up;
        sockets.farResets();
      },
  };
  for (const auto& provoke : provocations) {
    handler_ = {};
    SocketPair sockets;
    connection_ = std::make_unique<Connection>(loop_, std::move(sockets.near), peer_, nullptr,
                                               Connection::Options{});
    connection_->start(handler_);
    provoke(sockets);
    EXPECT_TRUE(turnUntil([&] { return connection_ == nullptr; }));
    runTurn(loop_);
  }
}

TEST_F(ConnectionTest, AnswersInFullBeforeItClosesThoughThePeerStillSends) {
  start();
  constexpr std::size_t kAnswer = 8 << 20;
  offer(kAnswer, 65536);
  // Unread input would turn a plain close into a reset that destroys the answer.
  sockets_.farSends(std::string(10'000, 'i'));
  connection_->pause(PauseReason::kOverloaded);
  connection_->closeAfterFlush();
  std::string heard;
  EXPECT_TRUE(turnUntil([&] { return !sockets_.farReads(heard); }));
  EXPECT_EQ(heard.size(), kAnswer);
  EXPECT_TRUE(connection_->isOpen());
  sockets_.far.reset();
  EXPECT_TRUE(closedWith(CloseReason::kLocal));
}

TEST_F(ConnectionTest, WaitsNoLongerThanASecondForThePeerToClose) {
  start();
  say("bye");
  connection_->closeAfterFlush();
  std::string heard;
  ASSERT_TRUE(turnUntil([&] { return !sockets_.farReads(heard); }));
  clock_.advance(milliseconds(999));
  runTurn(loop_);
  EXPECT_TRUE(connection_->isOpen());
  clock_.advance(milliseconds(1));
  EXPECT_TRUE(closedWith(CloseReason::kLocal));
}

TEST_F(ConnectionTest, ReadsNoMoreThan64KibWhileItWaitsForThePeerToClose) {
  start();
  connection_->closeAfterFlush();
  EXPECT_TRUE(turnUntil([&] {
    sockets_.farSends(std::string(16'384, 'i'));
    return handler_.closed > 0;
  }));
  EXPECT_EQ(handler_.close_reason, CloseReason::kLocal);
  EXPECT_EQ(handler_.received, "");
}

TEST_F(ConnectionTest, ClosesAtOnceAfterFlushingToAPeerThatHasClosed) {
  start();
  ::shutdown(sockets_.far.get(), SHUT_WR);
  handler_.when_peer_closed = [this] {
    say("answer");
    connection_->closeAfterFlush();
  };
  EXPECT_TRUE(closedWith(CloseReason::kLocal));
  std::string heard;
  while (sockets_.farReads(heard)) {
  }
  EXPECT_EQ(heard, "answer");
}

TEST_F(ConnectionTest, OwnsNoBufferWhileIdle) {
  start();
  sockets_.farSends(std::string(30'000, 'i'));
  ASSERT_TRUE(turnUntil([&] { return handler_.received.size() == 30'000; }));
  constexpr std::size_t kMany = 100;
  std::vector<SocketPair> sockets(kMany);
  std::vector<RecordingHandler> handlers(kMany);
  std::vector<std::unique_ptr<Connection>> connections;
  connections.reserve(kMany);
  const std::size_t before = allocatedBytes();
  for (std::size_t i = 0; i < kMany; ++i) {
    connections.push_back(std::make_unique<Connection>(loop_, std::move(sockets[i].near), peer_,
                                                       nullptr, Connection::Options{}));
    connections.back()->start(handlers[i]);
    connections.back()->output().append(std::string(30'000, 'o'));
    connections.back()->flushLater();
  }
  ASSERT_TRUE(turnUntil([&] {
    return std::ranges::all_of(connections, [](const auto& c) { return c->output().empty(); });
  }));
  EXPECT_LT((allocatedBytes() - before) / kMany, 2048U);
}

TEST(CloseReason, HasAName) {
  EXPECT_EQ(toString(CloseReason::kPeerReset), "peer_reset");
  EXPECT_EQ(toString(CloseReason::kHandshakeFailed), "handshake_failed");
}

}  // namespace
}  // namespace penstock::net
