#include "net/process/tcp_listeners.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "net/listener.h"

namespace penstock::net {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::uint32_t inodeOf(const UniqueFd& fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd.get(), &status), 0);
  return static_cast<std::uint32_t>(status.st_ino);
}

TEST(TcpListeners, AreFoundByTheirPort) {
  const auto one = listenOn(Address::loopback(0), false).value();
  const auto other = listenOn(Address::loopback(0), false).value();
  EXPECT_THAT(tcpListenersAt(boundAddress(one.get()).port()), ElementsAre(inodeOf(one)));
  EXPECT_THAT(tcpListenersAt(boundAddress(other.get()).port()), ElementsAre(inodeOf(other)));
}

TEST(TcpListeners, AreFoundAtEveryAddressOfThePort) {
  const auto ipv4 = listenOn(Address::loopback(0), false).value();
  const std::uint16_t port = boundAddress(ipv4.get()).port();
  const auto address = Address::parse("[::1]:" + std::to_string(port));
  const auto ipv6 = listenOn(address.value(), false);
  if (!ipv6) {
    GTEST_SKIP() << "no IPv6 here, or its port is taken: " << ipv6.error().message;
  }
  EXPECT_THAT(tcpListenersAt(port), UnorderedElementsAre(inodeOf(ipv4), inodeOf(*ipv6)));
}

TEST(TcpListeners, AreManyWhereManyListen) {
  const auto sockets = listenOnEach(Address::loopback(0), 300, false).value();
  EXPECT_EQ(tcpListenersAt(boundAddress(sockets[0].get()).port()).size(), 300u);
}

TEST(TcpListeners, AreNoneWhereASocketOnlyIsBoundOrWasClosed) {
  const auto bound = bindTo(Address::loopback(0)).value();
  EXPECT_THAT(tcpListenersAt(boundAddress(bound.get()).port()), IsEmpty());
  std::uint16_t port = 0;
  {
    const auto closed = listenOn(Address::loopback(0), false).value();
    port = boundAddress(closed.get()).port();
  }
  EXPECT_THAT(tcpListenersAt(port), IsEmpty());
}

}  // namespace
}  // namespace penstock::net
