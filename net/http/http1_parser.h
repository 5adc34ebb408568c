#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/http/limits.h"
#include "net/http/server_connection.h"

namespace penstock::http {

// Why a message is not taken. For a response only detail matters: any fault is the peer's.
struct Http1Error {
  ServerConnection::Rejection why;
  std::string detail;
};

inline std::unexpected<Http1Error> http1Error(ServerConnection::Rejection why, std::string detail) {
  return std::unexpected(Http1Error{why, std::move(detail)});
}

// Collects the bytes of one header block up to its empty line, and holds each line to the strict
// form: CRLF at its end, no continuation lines (obs-fold), and no more bytes or lines than limits
// allow. A block that arrives in one piece is not copied.
class Http1BlockReader {
 public:
  enum class Start { kRequestLine, kStatusLine, kNone };  // kNone: a trailer section

  Http1BlockReader(Start start, const Limits& limits) : start_(start), limits_(limits) {}

  // Takes bytes off the front of input. The whole block, its last empty line included, once that
  // has come: valid until reset() or until input's memory goes. Nothing yet: all of input is taken.
  std::expected<std::optional<std::string_view>, Http1Error> read(std::string_view& input);
  // Forgets the block, for the next one.
  void reset(Start next);
  // Whether a part of a block has come.
  bool started() const { return !partial_.empty(); }
  std::size_t allocatedBytes() const { return partial_.capacity(); }

 private:
  // Looks at complete lines in text from scanned_ on; true at the end of the block.
  std::expected<bool, Http1Error> scan(std::string_view text);
  bool mayStart(std::string_view text) const;
  std::expected<void, Http1Error> checkSize(std::string_view text) const;

  Start start_;
  const Limits& limits_;
  std::string partial_;
  std::size_t scanned_ = 0;     // start of the first line that is not complete
  std::size_t start_line_ = 0;  // bytes of the start line, once it is complete
  std::size_t lines_ = 0;       // complete lines
  std::size_t blank_ = 0;       // bytes of the one empty line that may stand before a request
};

// Hears what a block says. The views point into the block; an error ends the parse.
class Http1BlockSink {
 public:
  using Verdict = std::expected<void, Http1Error>;
  virtual ~Http1BlockSink() = default;
  virtual Verdict onRequestLine(std::string_view method, std::string_view target, bool http10) = 0;
  virtual Verdict onStatusLine(int status, bool http10) = 0;
  // name as it was sent; value without the white space around it.
  virtual Verdict onField(std::string_view name, std::string_view value) = 0;
};

// Parses a complete block from Http1BlockReader (Boost.Beast's grammar). Pure.
std::expected<void, Http1Error> parseRequestBlock(std::string_view block, Http1BlockSink& sink);
std::expected<void, Http1Error> parseResponseBlock(std::string_view block, Http1BlockSink& sink);
// A trailer section: fields only.
std::expected<void, Http1Error> parseTrailerBlock(std::string_view block, Http1BlockSink& sink);

}  // namespace penstock::http
