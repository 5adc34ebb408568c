#include "net/listener.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "net/socket.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::net {
namespace {

class ListenerTest : public testing::Test, protected Listener::Handler {
 protected:
  void onAccept(UniqueFd fd, const Address& peer) override {
    accepted_.push_back(std::move(fd));
    peers_.push_back(peer);
    if (when_accepted_) {
      when_accepted_();
    }
  }
  void onExhausted() override {
    ++exhausted_;
    if (when_exhausted_) {
      when_exhausted_();
    }
  }
  void connectClient() {
    const Address address = listener_.address();
    clients_.push_back(streamSocket(address).value());
    const int result = ::connect(clients_.back().get(), address.sockaddrPointer(), address.size());
    ASSERT_TRUE(result == 0 || errno == EINPROGRESS);
  }
  bool accepts(std::size_t count) {
    return turnUntil(loop_, [&] { return accepted_.size() == count; });
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
  Listener listener_{loop_, listenOn(Address::loopback(0), false).value(), *this};
  std::vector<UniqueFd> clients_;
  std::vector<UniqueFd> accepted_;
  std::vector<Address> peers_;
  std::function<void()> when_accepted_;
  std::function<void()> when_exhausted_;
  int exhausted_ = 0;
};

TEST_F(ListenerTest, AcceptsReadyMadeConnections) {
  connectClient();
  ASSERT_TRUE(accepts(1));
  const int fd = accepted_.front().get();
  EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
  EXPECT_NE(no_delay, 0);
  EXPECT_EQ(peers_.front().toString(), boundAddress(clients_.front().get()).toString());
}

TEST_F(ListenerTest, TellsThePortThatItGot) {
  EXPECT_NE(listener_.address().port(), 0);
  EXPECT_EQ(listener_.address().host(), "127.0.0.1");
}

TEST_F(ListenerTest, AcceptsABoundedNumberEachTurn) {
  for (int i = 0; i < 100; ++i) {
    connectClient();
  }
  std::size_t most = 0;
  EXPECT_TRUE(turnUntil(loop_, [&, before = accepted_.size()]() mutable {
    most = std::max(most, accepted_.size() - before);
    before = accepted_.size();
    return accepted_.size() == 100;
  }));
  EXPECT_LE(most, 64U);
}

TEST_F(ListenerTest, LeavesConnectionsInTheBacklogWhileItDoesNotAccept) {
  when_accepted_ = [this] { listener_.setAccepting(false); };
  connectClient();
  connectClient();
  ASSERT_TRUE(accepts(1));
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(accepted_.size(), 1U);
  listener_.setAccepting(true);
  EXPECT_TRUE(accepts(2));
}

TEST_F(ListenerTest, MayBeClosedWhileItAccepts) {
  when_accepted_ = [this] { listener_.close(); };
  const Address address = listener_.address();
  connectClient();
  connectClient();
  ASSERT_TRUE(accepts(1));
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(accepted_.size(), 1U);
  EXPECT_EQ(listener_.address().port(), address.port());
  EXPECT_TRUE(listenOn(address, false).has_value());
}

// TRAPS: out of descriptors, the waiting connection keeps the socket readable for ever.
TEST_F(ListenerTest, BacksOffWhenOutOfDescriptorsInsteadOfSpinning) {
  connectClient();
  runTurn(loop_);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  connectClient();
  rlimit none = before;
  // Every number up to the last client's is taken.
  none.rlim_cur = static_cast<rlim_t>(clients_.back().get()) + 1;
  ASSERT_TRUE(accepts(1));
  accepted_.clear();
  const UniqueFd filler(::fcntl(clients_.front().get(), F_DUPFD_CLOEXEC, 0));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  ASSERT_TRUE(turnUntil(loop_, [&] { return exhausted_ == 1; }));
  for (int i = 0; i < 10'000; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(exhausted_, 1);
  clock_.advance(std::chrono::milliseconds(100));
  for (int i = 0; i < 1000; ++i) {
    runTurn(loop_);
  }
  EXPECT_EQ(exhausted_, 2);
  EXPECT_TRUE(accepted_.empty());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  clock_.advance(std::chrono::milliseconds(100));
  EXPECT_TRUE(accepts(1));
  EXPECT_EQ(exhausted_, 2);
}

TEST(ListenOn, SharesAnAddressOnlyWhenAskedTo) {
  const Result<UniqueFd> first = listenOn(Address::loopback(0), true);
  ASSERT_TRUE(first.has_value());
  const Address address = boundAddress(first->get());
  EXPECT_TRUE(listenOn(address, true).has_value());
  const Result<UniqueFd> refused = listenOn(address, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find(address.toString()), std::string::npos);
}

}  // namespace
}  // namespace penstock::net
