#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock::examples {

// An 8-bit image: grey (1 channel) or RGB (3), rows from the top, channels interleaved, no padding.
struct Image {
  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t channels = 0;
  std::vector<std::uint8_t> pixels;  // width · height · channels

  std::size_t rowBytes() const { return width * channels; }
  const std::uint8_t* row(std::size_t y) const { return pixels.data() + y * rowBytes(); }
  std::uint8_t* row(std::size_t y) { return pixels.data() + y * rowBytes(); }
};

}  // namespace penstock::examples
