#include "proxy/admin/host_check.h"

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

TEST(HostCheck, KnowsTheNamesOfLoopback) {
  for (const char* authority : {"localhost", "localhost:9901", "LocalHost:1", "127.0.0.1",
                                "127.0.0.1:65535", "127.1.2.3", "[::1]", "[::1]:80"}) {
    EXPECT_TRUE(isLoopbackAuthority(authority)) << authority;
  }
}

TEST(HostCheck, RefusesEverythingElse) {
  for (const char* authority :
       {"", "evil.example", "evil.example:9901", "127.0.0.1.evil.example", "localhost.evil.example",
        "localhost:", "localhost:x", "localhost:999999", "10.0.0.1", "0.0.0.0", "[::2]", "::1",
        "[::1", "[::1]x", "user@localhost", "localhost:80@evil", "127.0.0.1:80:80", "2130706433"}) {
    EXPECT_FALSE(isLoopbackAuthority(authority)) << authority;
  }
}

}  // namespace
}  // namespace penstock::proxy
