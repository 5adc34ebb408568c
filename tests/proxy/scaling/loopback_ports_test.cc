#include "proxy/scaling/loopback_ports.h"

#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "net/listener.h"

namespace penstock::proxy {
namespace {

// Of all that the kernel gives out, a few: as many as the others are held.
TEST(LoopbackPorts, GivesNoPortTwiceWhileItIsClaimed) {
  LoopbackPorts ports;
  std::vector<std::unique_ptr<LoopbackPorts::Claim>> claims;
  std::set<std::uint16_t> seen;
  for (int i = 0; i < 3000; ++i) {
    claims.push_back(ports.claim().value());
    // What a replica has not bound yet is free to the kernel.
    claims.back()->release();
    EXPECT_TRUE(seen.insert(claims.back()->address().port()).second);
  }
}

TEST(LoopbackPorts, MayGiveAPortAgainWhenItsClaimHasEnded) {
  LoopbackPorts ports;
  for (int i = 0; i < 40'000; ++i) {
    ASSERT_TRUE(ports.claim().has_value());
  }
}

TEST(LoopbackPorts, HoldsAPortForTheProcessThatTakesItsSocket) {
  LoopbackPorts ports;
  const auto claim = ports.claim().value();
  ASSERT_GE(claim->socket(), 0);
  std::vector<net::UniqueFd> others;
  for (int i = 0; i < 500; ++i) {
    others.push_back(net::bindTo(net::Address::loopback(0)).value());
    EXPECT_NE(net::boundAddress(others.back().get()).port(), claim->address().port());
  }
  net::UniqueFd taken(::dup(claim->socket()));
  EXPECT_TRUE(net::listenOn(std::move(taken), claim->address()).has_value());
}

}  // namespace
}  // namespace penstock::proxy
