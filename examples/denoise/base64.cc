#include "examples/denoise/base64.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock::examples {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 64;

constexpr std::array<std::uint8_t, 256> makeValues() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNone);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr std::array<std::uint8_t, 256> kValues = makeValues();

std::uint32_t byteAt(std::string_view bytes, std::size_t i) {
  return i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0;
}

}  // namespace

std::string encodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::uint32_t group =
        byteAt(bytes, i) << 16 | byteAt(bytes, i + 1) << 8 | byteAt(bytes, i + 2);
    const std::size_t characters = std::min<std::size_t>(bytes.size() - i, 3) + 1;
    for (std::size_t c = 0; c < 4; ++c) {
      text += c < characters ? kAlphabet[group >> (18 - 6 * c) & 63] : '=';
    }
  }
  return text;
}

std::optional<std::string> decodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
    ++padding;
  }
  const std::size_t characters = text.size() - padding;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < characters; ++i) {
    const std::uint8_t value = kValues[static_cast<std::uint8_t>(text[i])];
    if (value == kNone) {
      return std::nullopt;
    }
    bits = bits << 6 | value;
    if (i % 4 == 3) {
      bytes += static_cast<char>(bits >> 16 & 0xff);
      bytes += static_cast<char>(bits >> 8 & 0xff);
      bytes += static_cast<char>(bits & 0xff);
    }
  }
  // Of a last group of 2 or 3 characters, 4 or 2 bits say nothing and are zero.
  if (padding == 2) {
    if ((bits & 0xf) != 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(bits >> 4 & 0xff);
  } else if (padding == 1) {
    if ((bits & 0x3) != 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(bits >> 10 & 0xff);
    bytes += static_cast<char>(bits >> 2 & 0xff);
  }
  return bytes;
}

}  // namespace penstock::examples
