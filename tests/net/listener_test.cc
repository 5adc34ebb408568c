#include "net/listener.h"

#include <barrier>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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
  void connectClient() { connectTo(listener_.address()); }
  void connectTo(const Address& address) {
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

TEST_F(ListenerTest, UsesWhatItHoldsBackWhenThereAreNoOtherDescriptors) {
  Listener reserving(loop_, listenOn(Address::loopback(0), false).value(), *this, 1);
  // UBSan's first look at the handler needs a descriptor of its own.
  connectTo(reserving.address());
  ASSERT_TRUE(accepts(1));
  accepted_.clear();
  connectTo(reserving.address());
  connectTo(reserving.address());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(clients_.back().get()) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::vector<UniqueFd> fillers;
  do {
    fillers.emplace_back(::fcntl(clients_.front().get(), F_DUPFD_CLOEXEC, 0));
  } while (fillers.back().valid());
  EXPECT_TRUE(accepts(1));
  EXPECT_TRUE(turnUntil(loop_, [&] { return exhausted_ == 1; })) << "one only";
  accepted_.clear();
  clock_.advance(std::chrono::milliseconds(100));
  EXPECT_TRUE(accepts(1)) << "the one that was held back is free again";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(ListenerTest, HandsOverWhatHasConnectedBeforeItCloses) {
  constexpr std::size_t kMany = 200;  // more than in one turn
  listener_.setAccepting(false);
  for (std::size_t i = 0; i < kMany; ++i) {
    connectClient();
  }
  listener_.closeAfterBacklog();
  EXPECT_EQ(accepted_.size(), kMany);
}

TEST(ListenOnEach, SpreadsConnectionsOverItsSockets) {
  for (const bool shared : {false, true}) {
    const auto sockets = listenOnEach(Address::loopback(0), 2, shared);
    ASSERT_TRUE(sockets.has_value());
    const Address address = boundAddress(sockets->front().get());
    std::vector<UniqueFd> clients;
    std::vector<bool> reached(2, false);
    while (clients.size() < 1000 && !(reached[0] && reached[1])) {
      clients.push_back(streamSocket(address).value());
      ::connect(clients.back().get(), address.sockaddrPointer(), address.size());
      pollfd entries[] = {{.fd = (*sockets)[0].get(), .events = POLLIN, .revents = 0},
                          {.fd = (*sockets)[1].get(), .events = POLLIN, .revents = 0}};
      ASSERT_GT(::poll(entries, 2, 10'000), 0);
      for (std::size_t i : {0u, 1u}) {
        reached[i] = reached[i] || entries[i].revents != 0;
      }
    }
    EXPECT_TRUE(reached[0] && reached[1]);
  }
}

TEST(ListenOnEach, HasItsAddressToItselfUnlessItIsShared) {
  for (const bool first_shared : {false, true}) {
    for (const std::size_t count : {1, 2}) {
      const auto first = listenOnEach(Address::loopback(0), count, first_shared);
      ASSERT_TRUE(first.has_value());
      const Address address = boundAddress(first->front().get());
      const Address wildcard = *Address::parse("0.0.0.0:" + std::to_string(address.port()));
      for (const Address& second : {address, wildcard}) {
        for (const std::size_t other : {1, 2}) {
          const auto refused = listenOnEach(second, other, false);
          ASSERT_FALSE(refused.has_value());
          EXPECT_TRUE(isInUse(refused.error())) << refused.error().message;
        }
        EXPECT_FALSE(listenOn(second, false).has_value());
      }
      EXPECT_EQ(listenOnEach(address, 2, true).has_value(), first_shared || count > 1);
    }
  }
}

// Both begin before either listens.
TEST(ListenOnEach, OfTwoThatBeginTogetherOneGetsTheAddress) {
  for (int round = 0; round < 50; ++round) {
    const Address address = boundAddress(listenOn(Address::loopback(0), false).value().get());
    std::optional<Result<std::vector<UniqueFd>>> mine;
    std::optional<Result<std::vector<UniqueFd>>> theirs;
    std::barrier together(2);
    std::thread other([&] {
      together.arrive_and_wait();
      theirs.emplace(listenOnEach(address, 3, false));
    });
    together.arrive_and_wait();
    mine.emplace(listenOnEach(address, 3, false));
    other.join();
    EXPECT_NE(mine->has_value(), theirs->has_value());
  }
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
