#include "examples/denoise/image_codec.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <jpeglib.h>

#include "examples/denoise/sample.h"

namespace penstock::examples {
namespace {

using runtime::ErrorKind;

constexpr std::size_t kEnough = 1'000'000;

Image gradient(std::size_t channels) {
  Image image{.width = 40, .height = 30, .channels = channels, .pixels = {}};
  for (std::size_t i = 0; i < image.rowBytes() * image.height; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(i / 16));
  }
  return image;
}

std::string encodeJpeg(const Image& image) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = static_cast<int>(image.channels);
  jpeg.in_color_space = image.channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<JSAMPLE*>(image.row(jpeg.next_scanline));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string result(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return result;
}

ErrorKind errorOf(const runtime::ModelResult<Image>& result) {
  EXPECT_FALSE(result.has_value());
  return result.has_value() ? ErrorKind::kCancelled : result.error().kind;
}

TEST(ImageCodec, PngComesBackAsItWas) {
  for (const std::size_t channels : {1u, 3u}) {
    const Image image = gradient(channels);
    const auto png = encodePng(image);
    ASSERT_TRUE(png.has_value());
    const auto back = decodeImage(*png, kEnough);
    ASSERT_TRUE(back.has_value()) << back.error().message;
    EXPECT_EQ(back->width, 40u);
    EXPECT_EQ(back->height, 30u);
    EXPECT_EQ(back->channels, channels);
    EXPECT_EQ(back->pixels, image.pixels);
  }
}

TEST(ImageCodec, JpegComesBackMuchAsItWas) {
  for (const std::size_t channels : {1u, 3u}) {
    const Image image = gradient(channels);
    const auto back = decodeImage(encodeJpeg(image), kEnough);
    ASSERT_TRUE(back.has_value()) << back.error().message;
    ASSERT_EQ(back->channels, channels);
    ASSERT_EQ(back->pixels.size(), image.pixels.size());
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      ASSERT_NEAR(back->pixels[i], image.pixels[i], 16) << i;
    }
  }
}

TEST(ImageCodec, RefusesOneMorePixelThanItMay) {
  const Image image = gradient(3);
  const std::string files[] = {*encodePng(image), encodeJpeg(image)};
  for (const std::string& file : files) {
    EXPECT_TRUE(decodeImage(file, 1200).has_value());
    EXPECT_EQ(errorOf(decodeImage(file, 1199)), ErrorKind::kTooLarge);
  }
}

// A header of 33 bytes that claims 65535 × 65535 pixels costs no memory.
TEST(ImageCodec, RefusesABombBeforeItGoesOff) {
  std::string png = *encodePng(gradient(1));
  png.replace(16, 8, std::string("\0\0\xff\xff\0\0\xff\xff", 8));
  const auto result = decodeImage(png, 64'000'000);
  EXPECT_FALSE(result.has_value());
  std::string jpeg = encodeJpeg(gradient(1));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  EXPECT_EQ(errorOf(decodeImage(jpeg, 64'000'000)), ErrorKind::kTooLarge);
}

// Anywhere but in the marker at the end, by when every pixel is there.
TEST(ImageCodec, RefusesWhatIsCutOffAnywhere) {
  const std::string files[] = {*encodePng(gradient(3)), encodeJpeg(gradient(3))};
  for (const std::string& file : files) {
    for (std::size_t size = 8; size + 16 < file.size(); size += 7) {
      EXPECT_EQ(errorOf(decodeImage(std::string_view(file).substr(0, size), kEnough)),
                ErrorKind::kBadInput)
          << size << " of " << file.size();
    }
  }
}

TEST(ImageCodec, RefusesOtherFormats) {
  for (const char* bytes : {"", "GIF89a", "\x89PNG", "\xff\xd8"}) {
    EXPECT_EQ(errorOf(decodeImage(bytes, kEnough)), ErrorKind::kUnsupportedMedia);
  }
}

// What is checked in is what penstock-make-sample makes.
TEST(ImageCodec, TheSampleIsOurOwn) {
  std::ifstream file(PENSTOCK_SAMPLE, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto image = decodeImage(bytes, kEnough);
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->width, 320u);
  // Another mathematical library may round a level differently here and there.
  const Image expected = sampleImage();
  ASSERT_EQ(image->pixels.size(), expected.pixels.size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
    different += image->pixels[i] != expected.pixels[i] ? 1 : 0;
  }
  EXPECT_LT(different, 100u);
}

}  // namespace
}  // namespace penstock::examples
