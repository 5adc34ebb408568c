#include "examples/denoise/orientation.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::examples {
namespace {

// 3 × 2, whose pixels are letters:  abc
//                                   def
std::string turned(int orientation) {
  const std::string letters = "abcdef";
  const Image image = turnUpright(
      {.width = 3, .height = 2, .channels = 1, .pixels = {letters.begin(), letters.end()}},
      orientation);
  std::string text;
  for (std::size_t y = 0; y < image.height; ++y) {
    text.append(image.row(y), image.row(y) + image.width);
    text += '|';
  }
  return text;
}

TEST(Orientation, TurnsEachOfTheEightWays) {
  EXPECT_EQ(turned(1), "abc|def|");
  EXPECT_EQ(turned(2), "cba|fed|");
  EXPECT_EQ(turned(3), "fed|cba|");
  EXPECT_EQ(turned(4), "def|abc|");
  EXPECT_EQ(turned(5), "ad|be|cf|");
  EXPECT_EQ(turned(6), "da|eb|fc|");
  EXPECT_EQ(turned(7), "fc|eb|da|");
  EXPECT_EQ(turned(8), "cf|be|ad|");
  EXPECT_EQ(turned(9), "abc|def|");
}

TEST(Orientation, KeepsTheChannelsOfAPixelTogether) {
  const Image image =
      turnUpright({.width = 2, .height = 1, .channels = 3, .pixels = {1, 2, 3, 4, 5, 6}}, 6);
  EXPECT_EQ(image.height, 2u);
  EXPECT_EQ(image.pixels, (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
}

std::string exif(std::string_view order, std::string_view rest) {
  return std::string("Exif\0\0", 6).append(order).append(rest);
}

TEST(Orientation, IsReadInEitherByteOrder) {
  using namespace std::string_view_literals;
  const auto big = "\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"sv;
  const auto little = "*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"sv;
  EXPECT_EQ(exifOrientation(exif("MM", big)), 6);
  EXPECT_EQ(exifOrientation(exif("II", little)), 8);
}

TEST(Orientation, IsUprightWhenTheSegmentSaysNothingOrLies) {
  using namespace std::string_view_literals;
  EXPECT_EQ(exifOrientation(""), 1);
  EXPECT_EQ(exifOrientation("http://ns.adobe.com/xap/1.0/"), 1);
  EXPECT_EQ(exifOrientation(exif("MM", "")), 1);
  EXPECT_EQ(exifOrientation(exif("MM", "\0*\xff\xff\xff\xff"sv)), 1);
  EXPECT_EQ(exifOrientation(exif("MM", "\0*\0\0\0\x08\xff\xff\x01\x12\0\x03"sv)), 1);
}

}  // namespace
}  // namespace penstock::examples
