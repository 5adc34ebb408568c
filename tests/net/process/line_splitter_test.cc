#include "net/process/line_splitter.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::net {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LineSplitterTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines;
  LineSplitter splitter{[this](std::string_view line) { lines.emplace_back(line); }, 8};
};

TEST_F(LineSplitterTest, CutsAtLineEndsWhereverThePiecesEnd) {
  for (const char* piece : {"a", "b\nc", "d", "\n", "e\nf\n"}) {
    splitter.feed(piece);
  }
  EXPECT_THAT(lines, ElementsAre("ab", "cd", "e", "f"));
}

TEST_F(LineSplitterTest, LeavesOutEmptyLinesAndCarriageReturns) {
  splitter.feed("a\r\n\n\r\nb\n");
  EXPECT_THAT(lines, ElementsAre("a", "b"));
}

TEST_F(LineSplitterTest, KeepsALineThatJustFits) {
  splitter.feed("12345678\n");
  EXPECT_THAT(lines, ElementsAre("12345678"));
}

TEST_F(LineSplitterTest, CutsALineThatIsOneTooLongAndGoesOnWithTheNext) {
  splitter.feed("1234567");
  splitter.feed("89");
  splitter.feed("0\nnext\n");
  EXPECT_THAT(lines, ElementsAre("12345678", "next"));
}

TEST_F(LineSplitterTest, GivesALastLineWithoutEnd) {
  splitter.feed("a\nrest");
  EXPECT_THAT(lines, ElementsAre("a"));
  splitter.finish();
  splitter.finish();
  EXPECT_THAT(lines, ElementsAre("a", "rest"));
}

TEST_F(LineSplitterTest, GivesNothingForNothing) {
  splitter.feed("");
  splitter.finish();
  EXPECT_THAT(lines, IsEmpty());
}

}  // namespace
}  // namespace penstock::net
