#include "base/json_escape.h"

#include <cstddef>
#include <cstdint>

namespace penstock {
namespace {

struct Sequence {
  std::size_t length;  // bytes to consume, at least 1
  bool well_formed;
  bool c1_control;
};

bool isContinuation(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

// The second byte's bounds rule out overlong forms, surrogates and what lies beyond U+10FFFF
// (Unicode 15, table 3-7).
bool secondByteFits(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return isContinuation(second);
  }
}

// Reads the multi-byte sequence at the start of text, whose first byte is 0x80 or above.
Sequence multiByte(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t expected = 0;
  if (byte(0) >= 0xC2 && byte(0) <= 0xDF) {
    expected = 2;
  } else if (byte(0) >= 0xE0 && byte(0) <= 0xEF) {
    expected = 3;
  } else if (byte(0) >= 0xF0 && byte(0) <= 0xF4) {
    expected = 4;
  } else {
    return {1, false, false};
  }
  if (text.size() < 2 || !secondByteFits(byte(0), byte(1))) {
    return {1, false, false};
  }
  std::size_t have = 2;
  while (have < expected && have < text.size() && isContinuation(byte(have))) {
    ++have;
  }
  return {have, have == expected, expected == 2 && byte(0) == 0xC2 && byte(1) < 0xA0};
}

void appendUnicodeEscape(std::string& out, unsigned code_unit) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u00";
  out += kHex[(code_unit >> 4) & 0xF];
  out += kHex[code_unit & 0xF];
}

void appendAscii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      appendUnicodeEscape(out, static_cast<unsigned char>(c));
  }
}

bool isPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

}  // namespace

void appendJsonEscaped(std::string& out, std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t run = i;
    while (i < text.size() && isPlain(text[i])) {
      ++i;
    }
    out.append(text, run, i - run);
    if (i == text.size()) {
      return;
    }
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      appendAscii(out, text[i]);
      ++i;
      continue;
    }
    const Sequence sequence = multiByte(text.substr(i));
    if (!sequence.well_formed) {
      out += "\xEF\xBF\xBD";
    } else if (sequence.c1_control) {
      appendUnicodeEscape(out, static_cast<unsigned char>(text[i + 1]));
    } else {
      out.append(text, i, sequence.length);
    }
    i += sequence.length;
  }
}

void appendJsonString(std::string& out, std::string_view text) {
  out += '"';
  appendJsonEscaped(out, text);
  out += '"';
}

std::string_view utf8Prefix(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) {
    return text;
  }
  std::size_t end = max_bytes;
  // A sequence has at most three continuation bytes; more of them is not UTF-8 and may be cut
  // anywhere.
  for (int back = 0; back < 3 && end > 0 && isContinuation(static_cast<unsigned char>(text[end]));
       ++back) {
    --end;
  }
  if (isContinuation(static_cast<unsigned char>(text[end]))) {
    end = max_bytes;
  }
  return text.substr(0, end);
}

}  // namespace penstock
