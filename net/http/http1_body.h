#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

#include "net/http/http1_message.h"
#include "net/http/http1_parser.h"
#include "net/http/limits.h"

namespace penstock::http {

// Takes a message's body apart as it arrives: by length, until close, or in chunks, whose lines are
// read byte by byte and strictly: 1 to 16 hexadecimal digits, then nothing or ";…" without control
// characters, then CRLF. Neither a line nor the number of chunks is unbounded.
class Http1BodyReader {
 public:
  struct Piece {
    std::string_view data;  // points into the input
    bool end = false;       // the body is complete; chunked: a trailer section follows
  };

  explicit Http1BodyReader(const Limits& limits) : limits_(limits) {}

  void begin(const Http1Framing& framing);
  // Takes bytes off the front of input: at most one contiguous piece of data. Without data and end,
  // all of input was taken.
  std::expected<Piece, Http1Error> read(std::string_view& input);
  bool chunked() const { return framing_.kind == Http1Framing::Kind::kChunked; }
  bool untilClose() const { return framing_.kind == Http1Framing::Kind::kUntilClose; }
  // Body bytes still to come as far as is known.
  std::uint64_t remaining() const { return remaining_; }

 private:
  enum class State { kSize, kExtension, kSizeEnd, kData, kDataCr, kDataLf, kDone };
  std::expected<Piece, Http1Error> readChunked(std::string_view& input);
  std::string_view takeData(std::string_view& input);
  // One byte of a line around chunks.
  std::expected<void, Http1Error> step(char c);
  std::expected<void, Http1Error> sizeByte(char c);
  std::expected<void, Http1Error> extensionByte(char c);
  std::expected<void, Http1Error> endOfSizeLine(char c);

  const Limits& limits_;
  Http1Framing framing_;
  State state_ = State::kDone;
  std::uint64_t remaining_ = 0;
  std::size_t digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::size_t chunks_ = 0;
};

}  // namespace penstock::http
