#include "base/json_escape.h"

#include <cstddef>
#include <cstdint>

namespace penstock {
namespace {

struct Sequence {
  std::size_t length;  // bytes to consume, at least 1
  bool well_formed;
};

// Bytes of the sequence that this one begins; 0: it begins none.
std::size_t sequenceLength(unsigned char first) {
  if (first >= 0xC2 && first <= 0xDF) {
    return 2;
  }
  if (first >= 0xE0 && first <= 0xEF) {
    return 3;
  }
  return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

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
  const std::size_t expected = sequenceLength(byte(0));
  if (expected == 0 || text.size() < 2 || !secondByteFits(byte(0), byte(1))) {
    return {1, false};
  }
  std::size_t have = 2;
  while (have < expected && have < text.size() && isContinuation(byte(have))) {
    ++have;
  }
  return {have, have == expected};
}

void appendUnicodeEscape(std::string& out, unsigned code_unit) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) {
    out += kHex[(code_unit >> shift) & 0xF];
  }
}

// A well-formed sequence: C1 controls, of which U+0085 ends a line, and U+2028 and U+2029.
bool isEscaped(std::string_view sequence) {
  if (sequence.size() == 2) {
    return sequence[0] == '\xC2' && static_cast<unsigned char>(sequence[1]) < 0xA0;
  }
  return sequence == "\xE2\x80\xA8" || sequence == "\xE2\x80\xA9";
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
    } else if (isEscaped(text.substr(i, sequence.length))) {
      const auto last = static_cast<unsigned char>(text[i + sequence.length - 1]);
      appendUnicodeEscape(out, sequence.length == 2 ? last : 0x2000U | (last & 0x3F));
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

std::size_t unfinishedUtf8(std::string_view text) {
  for (std::size_t count = 1; count <= 3 && count <= text.size(); ++count) {
    const std::string_view end = text.substr(text.size() - count);
    const auto first = static_cast<unsigned char>(end[0]);
    if (!isContinuation(first)) {
      const bool begins = sequenceLength(first) > count &&
                          (count == 1 || secondByteFits(first, static_cast<unsigned char>(end[1])));
      return begins ? count : 0;
    }
  }
  return 0;
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
