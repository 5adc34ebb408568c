#include <array>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/event_loop.h"
#include "net/unique_fd.h"
#include "tests/support/loop_runner.h"

namespace penstock::net {
namespace {

class FdWatchTest : public testing::Test {
 protected:
  FdWatchTest() {
    std::array<int, 2> pair{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
    near_ = UniqueFd(pair[0]);
    far_ = UniqueFd(pair[1]);
  }
  void sendByte() const { EXPECT_EQ(::write(far_.get(), "x", 1), 1); }

  SteadyClock clock_;
  EventLoop loop_{clock_};
  UniqueFd near_;
  UniqueFd far_;
};

TEST_F(FdWatchTest, TellsReadinessForReadingAgainAndAgain) {
  int readable = 0;
  FdWatch watch(loop_, near_.get(), [&](FdWatch::Ready ready) {
    EXPECT_TRUE(ready.readable);
    ++readable;
  });
  watch.set(true, false);
  runTurn(loop_);
  EXPECT_EQ(readable, 0);
  sendByte();
  runTurn(loop_);
  runTurn(loop_);
  EXPECT_EQ(readable, 2);
}

TEST_F(FdWatchTest, WatchesNothingUntilToldAndNoLongerThanTold) {
  int calls = 0;
  FdWatch watch(loop_, near_.get(), [&](FdWatch::Ready) { ++calls; });
  sendByte();
  runTurn(loop_);
  EXPECT_EQ(calls, 0);
  watch.set(true, false);
  runTurn(loop_);
  EXPECT_EQ(calls, 1);
  watch.set(false, false);
  runTurn(loop_);
  EXPECT_EQ(calls, 1);
  watch.set(true, false);
  runTurn(loop_);
  EXPECT_EQ(calls, 2);
}

TEST_F(FdWatchTest, TellsBothKindsOfReadiness) {
  bool readable = false;
  bool writable = false;
  FdWatch watch(loop_, near_.get(), [&](FdWatch::Ready ready) {
    readable = readable || ready.readable;
    writable = writable || ready.writable;
  });
  watch.set(true, true);
  sendByte();
  runTurn(loop_);
  EXPECT_TRUE(readable);
  EXPECT_TRUE(writable);
}

TEST_F(FdWatchTest, MayBeDestroyedInItsCallbackWithBothKindsReady) {
  auto token = std::make_shared<int>(7);
  int seen = 0;
  std::unique_ptr<FdWatch> watch;
  watch = std::make_unique<FdWatch>(loop_, near_.get(), [&, token](FdWatch::Ready) {
    watch.reset();
    near_.reset();
    seen += *token;
  });
  watch->set(true, true);
  sendByte();
  runTurn(loop_);
  runTurn(loop_);
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(FdWatchTest, MayDestroyAnotherThatIsReadyToo) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
  const UniqueFd other_near(pair[0]);
  const UniqueFd other_far(pair[1]);
  int calls = 0;
  std::unique_ptr<FdWatch> first;
  std::unique_ptr<FdWatch> second;
  first = std::make_unique<FdWatch>(loop_, near_.get(), [&](FdWatch::Ready) {
    ++calls;
    second.reset();
  });
  second = std::make_unique<FdWatch>(loop_, other_near.get(), [&](FdWatch::Ready) {
    ++calls;
    first.reset();
  });
  first->set(true, false);
  second->set(true, false);
  sendByte();
  ASSERT_EQ(::write(other_far.get(), "x", 1), 1);
  runTurn(loop_);
  EXPECT_EQ(calls, 1);
}

TEST_F(FdWatchTest, TellsAHangUpAsReadiness) {
  int calls = 0;
  FdWatch watch(loop_, near_.get(), [&](FdWatch::Ready ready) {
    calls += ready.readable ? 1 : 0;
    watch.set(false, false);
  });
  watch.set(true, false);
  far_.reset();
  runTurn(loop_);
  EXPECT_EQ(calls, 1);
}

TEST(UniqueFd, ClosesWhatItOwnsAndNothingElse) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::pipe(pair.data()), 0);
  UniqueFd read_end(pair[0]);
  UniqueFd write_end(pair[1]);
  UniqueFd moved = std::move(read_end);
  EXPECT_EQ(moved.get(), pair[0]);
  EXPECT_GE(::fcntl(pair[0], F_GETFD), 0);
  moved.reset();
  EXPECT_LT(::fcntl(pair[0], F_GETFD), 0);
  const int released = write_end.release();
  write_end.reset();
  EXPECT_GE(::fcntl(released, F_GETFD), 0);
  ::close(released);
}

}  // namespace
}  // namespace penstock::net
