#include "net/http/field_rules.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

TEST(FieldRules, NamesAreLowerCaseTokens) {
  for (const char* good : {"a", "x-request-id", "a!#$%&'*+-.^_`|~9"}) {
    EXPECT_TRUE(isFieldName(good)) << good;
  }
  for (const char* bad : {"", "A", "a b", "a:", ":a", "a\r", "\xc3\xa9", "a(", "a\x7f"}) {
    EXPECT_FALSE(isFieldName(bad)) << bad;
  }
  EXPECT_FALSE(isFieldName(std::string("a\0b", 3)));
}

TEST(FieldRules, ValuesHaveNoControlCharactersAndNoBlanksAround) {
  for (const char* good : {"", "a", "a b", "a\tb", "caf\xc3\xa9", "\"~\""}) {
    EXPECT_TRUE(isFieldValue(good)) << good;
  }
  for (const char* bad : {" a", "a ", "\ta", "a\t", " ", "a\rb", "a\nb", "a\x01", "a\x7f"}) {
    EXPECT_FALSE(isFieldValue(bad)) << bad;
  }
  EXPECT_FALSE(isFieldValue(std::string("a\0b", 3)));
}

TEST(FieldRules, EachByteOfALongValueIsLookedAt) {
  for (std::size_t place = 1; place < 20; ++place) {
    for (int c = 0; c < 256; ++c) {
      std::string value(21, '~');
      value[place] = static_cast<char>(c);
      const bool control = (c < 0x20 && c != '\t') || c == 0x7f;
      EXPECT_EQ(isFieldValue(value), !control) << place << " " << c;
    }
  }
}

TEST(FieldRules, PathsAreOriginForm) {
  for (const char* good : {"/", "/a/b?c=d&e=%20", "/v1/models/m:predict", "/~a;b@c"}) {
    EXPECT_TRUE(isOriginForm(good)) << good;
  }
  for (const char* bad : {"", "a", "*", "http://a/", "/a b", "/a#b", "/a\\b", "/\x80", "/a\n"}) {
    EXPECT_FALSE(isOriginForm(bad)) << bad;
  }
}

TEST(FieldRules, AuthoritiesHaveNoUserinfo) {
  for (const char* good : {"a", "A.example:80", "127.0.0.1:1", "[::1]:80"}) {
    EXPECT_TRUE(isAuthority(good)) << good;
  }
  for (const char* bad : {"", "a:1:2", "a:x", "a:123456", ":80", "[::1", "::1]", "[]", "[::1]x",
                          "a[b]", "a@b", "a/b", "a b", "a?b", "a#b", "a\\b", "\xc3\xa9"}) {
    EXPECT_FALSE(isAuthority(bad)) << bad;
  }
}

TEST(FieldRules, KnowsTheDefaultPortOfAnAuthority) {
  EXPECT_TRUE(sameAuthority("a.example", "A.example:80", "http"));
  EXPECT_TRUE(sameAuthority("a.example:443", "a.example", "https"));
  EXPECT_TRUE(sameAuthority("a.example:", "a.example:80", "http"));
  EXPECT_TRUE(sameAuthority("[::80]", "[::80]:80", "http"));
  EXPECT_FALSE(sameAuthority("a.example", "a.example:443", "http"));
  EXPECT_FALSE(sameAuthority("a.example", "a.example:80", "https"));
  EXPECT_FALSE(sameAuthority("a.example:8080", "a.example", "http"));
  EXPECT_FALSE(sameAuthority("[::80]", "[:", "http"));
  EXPECT_FALSE(sameAuthority("a.example", "b.example", "http"));
}

TEST(FieldRules, NamesTheFieldsOfOneConnection) {
  for (const char* name : {"connection", "keep-alive", "proxy-connection", "transfer-encoding",
                           "upgrade", "http2-settings"}) {
    EXPECT_TRUE(isHopByHopField(name)) << name;
  }
  for (const char* name : {"host", "authorization", "te", "trailer", "content-length", ""}) {
    EXPECT_FALSE(isHopByHopField(name)) << name;
  }
}

TEST(FieldRules, CountsFieldsThatMustNotBeWritten) {
  const std::uint64_t before = unwritableFields();
  EXPECT_TRUE(mayWriteField("a", "b"));
  EXPECT_EQ(unwritableFields(), before);
  EXPECT_FALSE(mayWriteField("a", "b\r\n"));
  EXPECT_FALSE(mayWriteField("A", "b"));
  EXPECT_EQ(unwritableFields(), before + 2);
}

TEST(FieldRules, ComparesWithoutCase) {
  EXPECT_TRUE(equalsIgnoreCase("Model.Example:80", "model.example:80"));
  EXPECT_FALSE(equalsIgnoreCase("model", "models"));
  EXPECT_FALSE(equalsIgnoreCase("[", "{"));
}

}  // namespace
}  // namespace penstock::http
