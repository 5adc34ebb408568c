#include "net/address_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::net {
namespace {

using ::testing::HasSubstr;

bool contains(std::string_view range, std::string_view address) {
  return AddressRange::parse(range).value().contains(Address::parse(address).value());
}

TEST(AddressRange, ContainsWhatSharesItsPrefix) {
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.1.2:80"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0:80"));
  EXPECT_TRUE(contains("192.168.4.0/22", "192.168.7.255:1"));
  EXPECT_FALSE(contains("192.168.4.0/22", "192.168.8.0:1"));
  EXPECT_TRUE(contains("127.0.0.1", "127.0.0.1:1"));
  EXPECT_FALSE(contains("127.0.0.1", "127.0.0.2:1"));
  EXPECT_TRUE(contains("fd00::/8", "[fdff::1]:80"));
  EXPECT_FALSE(contains("fd00::/8", "[fe80::1]:80"));
  EXPECT_TRUE(contains("::1", "[::1]:80"));
}

TEST(AddressRange, KeepsTheFamiliesApartButForMappedAddresses) {
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4:1"));
  EXPECT_FALSE(contains("0.0.0.0/0", "[2001:db8::1]:1"));
  EXPECT_TRUE(contains("10.0.0.0/8", "[::ffff:10.1.2.3]:1"));
  EXPECT_TRUE(contains("::/0", "[2001:db8::1]:1"));
}

TEST(AddressRange, IsWrittenWithItsLength) {
  EXPECT_EQ(AddressRange::parse("10.0.0.0/8").value().toString(), "10.0.0.0/8");
  EXPECT_EQ(AddressRange::parse("10.0.0.1").value().toString(), "10.0.0.1/32");
  EXPECT_EQ(AddressRange::parse("0.0.0.0/0").value().toString(), "0.0.0.0/0");
  EXPECT_EQ(AddressRange::parse("FD00::/8").value().toString(), "fd00::/8");
  EXPECT_EQ(AddressRange::parse("::1").value().toString(), "::1/128");
  EXPECT_EQ(AddressRange::parse("::/0").value().toString(), "::/0");
}

TEST(AddressRange, SaysWhatItExpected) {
  for (const char* text : {"", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x", "10/8",
                           "::/129", "example.com", "10.0.0.1:80", "/8", "10.0.0.0/ 8"}) {
    const auto range = AddressRange::parse(text);
    ASSERT_FALSE(range) << text;
    EXPECT_THAT(range.error().message, HasSubstr("10.0.0.0/8, fd00::/8 or 10.0.0.1")) << text;
  }
  EXPECT_EQ(AddressRange::parse("10.1.2.3/8").error().message,
            "expected no bits behind the prefix; 10.1.2.3/8 is in 10.0.0.0/8");
}

}  // namespace
}  // namespace penstock::net
