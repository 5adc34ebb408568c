#include <array>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/connection.h"
#include "net/listener.h"
#include "net/socket.h"
#include "tests/net/recording_handler.h"
#include "tests/net/socket_options.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ConnectTest : public testing::Test {
 protected:
  void connectTo(const Address& address, Deadline deadline = Deadline::never()) {
    connection_ = Connection::connect(loop_, address, nullptr, deadline, Connection::Options{});
    connection_->start(handler_);
  }
  bool turnUntil(const std::function<bool()>& done) { return net::turnUntil(loop_, done); }
  static UniqueFd accept(const UniqueFd& listening) {
    UniqueFd far;
    while (!far.valid()) {
      far = UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    return far;
  }
  bool closedWith(CloseReason reason) {
    return turnUntil([this] { return handler_.closed > 0; }) && handler_.close_reason == reason &&
           handler_.closed == 1 && !connection_->isOpen();
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
  RecordingHandler handler_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectTest, ConnectsAndThenTells) {
  const UniqueFd listening = listenOn(Address::loopback(0), false).value();
  connectTo(boundAddress(listening.get()));
  EXPECT_EQ(handler_.connected, 0);
  connection_->flushLater();
  EXPECT_TRUE(turnUntil([&] { return handler_.connected == 1; }));
  EXPECT_EQ(connection_->peer().port(), boundAddress(listening.get()).port());
}

TEST_F(ConnectTest, NoticesAPeerThatHasVanished) {
  const UniqueFd listening = listenOn(Address::loopback(0), false).value();
  connectTo(boundAddress(listening.get()));
  ASSERT_TRUE(turnUntil([&] { return handler_.connected == 1; }));
  const SocketOptions made(connection_->local(), connection_->peer());
  ASSERT_TRUE(made.found());
  EXPECT_EQ(made.keepAlive(), (std::array{1, 60, 10, 3}));
  EXPECT_EQ(made.userTimeoutMs(), 0);
  connection_->requireProgress();
  EXPECT_EQ(made.userTimeoutMs(), 30'000);

  UniqueFd accepted(::accept(listening.get(), nullptr, nullptr));
  const Connection taken(loop_, std::move(accepted), connection_->local(), nullptr, {});
  const SocketOptions of_accepted(connection_->peer(), connection_->local());
  ASSERT_TRUE(of_accepted.found());
  EXPECT_EQ(of_accepted.keepAlive(), (std::array{1, 60, 10, 3}));
}

TEST_F(ConnectTest, TellsARefusalAfterStart) {
  const UniqueFd bound = streamSocket(Address::loopback(0)).value();
  const Address any = Address::loopback(0);
  ASSERT_EQ(::bind(bound.get(), any.sockaddrPointer(), any.size()), 0);
  connectTo(boundAddress(bound.get()));
  EXPECT_EQ(handler_.closed, 0);
  EXPECT_TRUE(closedWith(CloseReason::kConnectFailed));
  EXPECT_EQ(handler_.connected, 0);
}

TEST_F(ConnectTest, TellsWhatCannotBeReachedAtAll) {
  // A multicast address takes no stream connection.
  connectTo(Address::parse("224.0.0.1:80").value());
  EXPECT_TRUE(closedWith(CloseReason::kConnectFailed));
}

TEST_F(ConnectTest, GivesUpAtItsDeadline) {
  // A full backlog: further connections are neither taken nor refused.
  const UniqueFd listening = listenOn(Address::loopback(0), false, 0).value();
  const Address address = boundAddress(listening.get());
  std::vector<UniqueFd> fill;
  for (int i = 0; i < 4; ++i) {
    fill.push_back(streamSocket(address).value());
    ::connect(fill.back().get(), address.sockaddrPointer(), address.size());
  }
  connectTo(address, Deadline::after(clock_.now(), seconds(1)));
  for (int i = 0; i < 20; ++i) {
    runTurn(loop_);
  }
  clock_.advance(milliseconds(999));
  runTurn(loop_);
  ASSERT_EQ(handler_.connected, 0);
  EXPECT_EQ(handler_.closed, 0);
  clock_.advance(milliseconds(1));
  EXPECT_TRUE(closedWith(CloseReason::kConnectTimeout));
}

TEST_F(ConnectTest, ReadsWhatThePeerSaidBeforeItReset) {
  const UniqueFd listening = listenOn(Address::loopback(0), false).value();
  connectTo(boundAddress(listening.get()));
  ASSERT_TRUE(turnUntil([&] { return handler_.connected == 1; }));
  UniqueFd far = accept(listening);
  handler_.when_asked = [&](Buffer& output) {
    output.append("more of the question");
    if (far.valid()) {
      ::send(far.get(), "the answer", 10, MSG_NOSIGNAL);
      const linger now{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      far.reset();
    }
  };
  connection_->flushLater();
  EXPECT_TRUE(closedWith(CloseReason::kPeerReset));
  EXPECT_EQ(handler_.received, "the answer");
  EXPECT_EQ(handler_.peer_closed, 0) << "after a reset an end of file ends nothing";
}

TEST_F(ConnectTest, ReadsToItsEndWhatAPeerSaidThatTakesNoMore) {
  const UniqueFd listening = listenOn(Address::loopback(0), false).value();
  connectTo(boundAddress(listening.get()));
  ASSERT_TRUE(turnUntil([&] { return handler_.connected == 1; }));
  UniqueFd far = accept(listening);
  handler_.when_asked = [&](Buffer& output) {
    output.append("more of the question");
    if (far.valid()) {
      ::send(far.get(), "the answer", 10, MSG_NOSIGNAL);
      far.reset();
    }
  };
  connection_->flushLater();
  EXPECT_TRUE(turnUntil([&] { return handler_.peer_closed == 1 || handler_.closed == 1; }));
  EXPECT_EQ(handler_.received, "the answer");
  EXPECT_EQ(handler_.peer_closed, 1);
  connection_->output().append("and more");
  connection_->closeAfterFlush();
  EXPECT_TRUE(closedWith(CloseReason::kLocal));
}

TEST_F(ConnectTest, EndsWhenAskedToCloseBeforeItIsConnected) {
  const UniqueFd listening = listenOn(Address::loopback(0), false).value();
  connectTo(boundAddress(listening.get()));
  connection_->closeAfterFlush();
  EXPECT_TRUE(closedWith(CloseReason::kLocal));
}

}  // namespace
}  // namespace penstock::net
