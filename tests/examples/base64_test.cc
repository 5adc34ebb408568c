#include "examples/denoise/base64.h"

#include <gtest/gtest.h>

namespace penstock::examples {
namespace {

// RFC 4648 §10, and bytes that need all of the alphabet.
const std::pair<std::string, std::string> kVectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {std::string("\x00\xff\xfb\xef\xbe", 5), "AP/7774="},
};

TEST(Base64, Encodes) {
  for (const auto& [bytes, text] : kVectors) {
    EXPECT_EQ(encodeBase64(bytes), text);
  }
}

TEST(Base64, Decodes) {
  for (const auto& [bytes, text] : kVectors) {
    EXPECT_EQ(decodeBase64(text), bytes) << text;
  }
}

TEST(Base64, RefusesAnythingElse) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8=Zm8=", "Zm9v\n", "Zm 9",
                           "Zm-_", "====", "=Zg="}) {
    EXPECT_EQ(decodeBase64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace penstock::examples
