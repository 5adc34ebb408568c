#include "net/address.h"

#include <string>

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace penstock::net {
namespace {

TEST(Address, ReadsWhatItWrites) {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "[::1]:65535", "[2001:db8::7]:443"}) {
    const Result<Address> address = Address::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->toString(), text);
  }
}

TEST(Address, TakesLocalhostForLoopback) {
  const Result<Address> address = Address::parse("localhost:8080");
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->toString(), "127.0.0.1:8080");
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:+1", "127.0.0.1:8 0", "127.0.0.1:0x50", "::1:80", "[::1]", "[::1:80",
        "[127.0.0.1]:80", "example.org:80", "1.2.3:80", "127.0.0.1:80 "}) {
    const Result<Address> address = Address::parse(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_NE(address.error().message.find("expected an address"), std::string::npos);
  }
}

TEST(Address, TellsHostAndPortApart) {
  const Result<Address> address = Address::parse("[::1]:8080");
  ASSERT_TRUE(address.has_value());
  EXPECT_EQ(address->host(), "::1");
  EXPECT_EQ(address->port(), 8080);
}

TEST(Address, KnowsLoopback) {
  EXPECT_TRUE(Address::parse("127.3.2.1:1")->isLoopback());
  EXPECT_TRUE(Address::parse("[::1]:1")->isLoopback());
  EXPECT_TRUE(Address::parse("[::ffff:127.0.0.1]:1")->isLoopback());
  EXPECT_FALSE(Address::parse("10.0.0.1:1")->isLoopback());
  EXPECT_FALSE(Address::parse("[::2]:1")->isLoopback());
}

TEST(Address, ShowsAMappedIpv4PeerAsIpv4) {
  EXPECT_EQ(Address::parse("[::ffff:10.1.2.3]:5")->toString(), "10.1.2.3:5");
}

TEST(Address, OfNoInternetFamilyHasNoHost) {
  sockaddr local{};
  local.sa_family = AF_UNIX;
  EXPECT_EQ(Address::fromSockaddr(&local, sizeof local.sa_family).toString(), "unknown:0");
}

}  // namespace
}  // namespace penstock::net
