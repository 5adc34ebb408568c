#include "examples/denoise/orientation.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace penstock::examples {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;
constexpr std::size_t kEntryBytes = 12;

// The TIFF structure inside EXIF, in the byte order that it names. Offsets that lead outside read
// as nothing.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), little_(bytes.starts_with("II")) {}

  std::optional<std::uint32_t> number(std::size_t offset, std::size_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return std::nullopt;
    }
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = little_ ? size - 1 - i : i;
      value = value << 8 | static_cast<std::uint8_t>(bytes_[offset + at]);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool little_;
};

// Where pixel (x, y) of the upright image is in the stored one.
struct Turn {
  bool swap;    // columns are rows
  bool flip_x;  // of the stored image
  bool flip_y;
};

Turn turnOf(int orientation) {
  switch (orientation) {
    case 2:
      return {false, true, false};
    case 3:
      return {false, true, true};
    case 4:
      return {false, false, true};
    case 5:
      return {true, false, false};
    case 6:
      return {true, false, true};
    case 7:
      return {true, true, true};
    default:
      return {true, true, false};
  }
}

}  // namespace

int exifOrientation(std::string_view app1) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  if (!app1.starts_with(kExif)) {
    return 1;
  }
  const Tiff tiff(app1.substr(kExif.size()));
  const auto directory = tiff.number(4, 4);
  const auto entries = directory ? tiff.number(*directory, 2) : std::nullopt;
  for (std::size_t i = 0; i < entries.value_or(0); ++i) {
    const std::size_t entry = *directory + 2 + i * kEntryBytes;
    if (tiff.number(entry, 2) == kOrientationTag && tiff.number(entry + 2, 2) == kShort) {
      return static_cast<int>(tiff.number(entry + 8, 2).value_or(1));
    }
  }
  return 1;
}

Image turnUpright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) {
    return image;
  }
  const Turn turn = turnOf(orientation);
  Image upright{.width = turn.swap ? image.height : image.width,
                .height = turn.swap ? image.width : image.height,
                .channels = image.channels,
                .pixels = std::vector<std::uint8_t>(image.pixels.size())};
  std::uint8_t* out = upright.pixels.data();
  for (std::size_t y = 0; y < upright.height; ++y) {
    for (std::size_t x = 0; x < upright.width; ++x) {
      std::size_t from_x = turn.swap ? y : x;
      std::size_t from_y = turn.swap ? x : y;
      from_x = turn.flip_x ? image.width - 1 - from_x : from_x;
      from_y = turn.flip_y ? image.height - 1 - from_y : from_y;
      const std::uint8_t* from = image.row(from_y) + from_x * image.channels;
      for (std::size_t c = 0; c < image.channels; ++c) {
        *out++ = from[c];
      }
    }
  }
  return upright;
}

}  // namespace penstock::examples
