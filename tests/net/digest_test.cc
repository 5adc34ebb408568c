#include "net/digest.h"

#include <gtest/gtest.h>

namespace penstock::net {
namespace {

TEST(Digest, IsSha1InBase64) {
  EXPECT_EQ(sha1Base64("abc"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");  // FIPS 180-4, example 1
  EXPECT_EQ(sha1Base64(""), "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
}

TEST(Digest, RandomBytesAreAsManyAsAskedForAndNeverTheSame) {
  EXPECT_EQ(randomBase64(16).size(), 24U);
  EXPECT_EQ(randomBase64(3).size(), 4U);
  EXPECT_NE(randomBase64(16), randomBase64(16));
}

}  // namespace
}  // namespace penstock::net
