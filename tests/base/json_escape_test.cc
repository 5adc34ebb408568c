#include "base/json_escape.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

std::string literal(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

TEST(JsonEscape, QuotesPlainText) {
  EXPECT_EQ(literal("plain text"), R"("plain text")");
}

TEST(JsonEscape, EscapesQuotesBackslashesAndControlCharacters) {
  EXPECT_EQ(literal("a\"b\\c\n\r\t"), R"("a\"b\\c\n\r\t")");
  EXPECT_EQ(literal(std::string_view("\0\x1b[31m\x7f", 7)), R"("\u0000\u001b[31m\u007f")");
}

TEST(JsonEscape, EscapesTheControlCharactersThatHideInUtf8) {
  EXPECT_EQ(literal("\xC2\x9B"), R"("\u009b")");
}

TEST(JsonEscape, EscapesWhateverSomeReaderTakesForTheEndOfALine) {
  EXPECT_EQ(literal("a\xC2\x85"
                    "b\xE2\x80\xA8"
                    "c\xE2\x80\xA9"),
            R"("a\u0085b\u2028c\u2029")");
  EXPECT_EQ(literal("\xE2\x80\xA7\xE2\x80\xAA"), "\"\xE2\x80\xA7\xE2\x80\xAA\"");
}

TEST(JsonEscape, KeepsWellFormedUtf8) {
  EXPECT_EQ(literal("é €\xF0\x9F\x98\x80"), "\"é €\xF0\x9F\x98\x80\"");
}

TEST(JsonEscape, ReplacesIllFormedUtf8) {
  const std::string bad = "\"\xEF\xBF\xBD\"";
  EXPECT_EQ(literal("\x80"), bad);                     // a continuation by itself
  EXPECT_EQ(literal("\xFF"), bad);                     // never a first byte
  EXPECT_EQ(literal("\xE2\x82"), bad);                 // cut short: one mark for all of it
  EXPECT_EQ(literal("\xC0\xAF").size(), 8U);           // overlong
  EXPECT_EQ(literal("\xED\xA0\x80").size(), 11U);      // a surrogate
  EXPECT_EQ(literal("\xF4\x90\x80\x80").size(), 14U);  // beyond U+10FFFF
  EXPECT_EQ(literal("\xE2\x82z"), "\"\xEF\xBF\xBDz\"");
}

TEST(UnfinishedUtf8, IsWhatMayStillBecomeACharacter) {
  for (const std::string_view whole : {"", "a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}) {
    EXPECT_EQ(unfinishedUtf8(whole), 0U);
  }
  for (const std::string_view part :
       {"\xC3", "\xE2", "\xE2\x82", "\xF0", "\xF0\x9F", "\xF0\x9F\x98"}) {
    EXPECT_EQ(unfinishedUtf8(part), part.size());
    EXPECT_EQ(unfinishedUtf8("ab" + std::string(part)), part.size());
  }
  for (const std::string_view never : {"\xFF", "\xC0", "\x80", "\xED\xA0", "\xF4\x90", "\xE0\x80",
                                       "\x80\x80\x80\x80", "\xC3\xA4\xA4"}) {
    EXPECT_EQ(unfinishedUtf8(never), 0U);
  }
}

TEST(Utf8Prefix, NeverEndsInsideACharacter) {
  EXPECT_EQ(utf8Prefix("abc", 3), "abc");
  EXPECT_EQ(utf8Prefix("abcd", 3), "abc");
  EXPECT_EQ(utf8Prefix("ab€", 4), "ab");
  EXPECT_EQ(utf8Prefix("ab€", 5), "ab€");
  EXPECT_EQ(utf8Prefix("\x80\x80\x80\x80\x80\x80", 5).size(), 5U);
}

}  // namespace
}  // namespace penstock
