#include "net/http/http1_body.h"

#include <algorithm>

#include "net/http/http1_fields.h"

namespace penstock::http {
namespace {

constexpr std::size_t kMaxSizeDigits = 16;

std::unexpected<Http1Error> badChunk(std::string detail) {
  return http1Error(ServerConnection::Rejection::kBadRequest, std::move(detail));
}

}  // namespace

void Http1BodyReader::begin(const Http1Framing& framing) {
  framing_ = framing;
  remaining_ = framing.length;
  state_ = State::kSize;
  digits_ = extension_bytes_ = chunks_ = 0;
}

std::expected<Http1BodyReader::Piece, Http1Error> Http1BodyReader::read(std::string_view& input) {
  switch (framing_.kind) {
    case Http1Framing::Kind::kNone:
      return Piece{{}, true};
    case Http1Framing::Kind::kLength: {
      const std::string_view data = takeData(input);
      return Piece{data, remaining_ == 0};
    }
    case Http1Framing::Kind::kUntilClose: {
      const std::string_view data = input;
      input = {};
      return Piece{data, false};
    }
    case Http1Framing::Kind::kChunked:
      return readChunked(input);
  }
  return Piece{};
}

std::expected<Http1BodyReader::Piece, Http1Error> Http1BodyReader::readChunked(
    std::string_view& input) {
  while (!input.empty() && state_ != State::kDone) {
    if (state_ == State::kData) {
      const std::string_view data = takeData(input);
      if (remaining_ == 0) {
        state_ = State::kDataCr;
      }
      return Piece{data, false};
    }
    if (auto ok = step(input.front()); !ok.has_value()) {
      return std::unexpected(std::move(ok.error()));
    }
    input.remove_prefix(1);
  }
  return Piece{{}, state_ == State::kDone};
}

std::string_view Http1BodyReader::takeData(std::string_view& input) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input.size()));
  const std::string_view data = input.substr(0, size);
  input.remove_prefix(size);
  remaining_ -= size;
  return data;
}

std::expected<void, Http1Error> Http1BodyReader::step(char c) {
  switch (state_) {
    case State::kSize:
      return sizeByte(c);
    case State::kExtension:
      return extensionByte(c);
    case State::kSizeEnd:
      return endOfSizeLine(c);
    case State::kDataCr:
      if (c != '\r') {
        return badChunk("chunk longer than its size");
      }
      state_ = State::kDataLf;
      return {};
    case State::kDataLf:
      if (c != '\n') {
        return badChunk("chunk does not end with CRLF");
      }
      state_ = State::kSize;
      digits_ = extension_bytes_ = 0;
      return {};
    case State::kData:
    case State::kDone:
      break;
  }
  return {};
}

std::expected<void, Http1Error> Http1BodyReader::sizeByte(char c) {
  if (const int digit = hexDigit(c); digit >= 0) {
    if (++digits_ > kMaxSizeDigits) {
      return badChunk("chunk size has too many digits");
    }
    remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(digit);
    return {};
  }
  if (digits_ == 0) {
    return badChunk("chunk size is no hexadecimal number");
  }
  if (c == '\r') {
    state_ = State::kSizeEnd;
  } else if (c == ';') {
    state_ = State::kExtension;
    return extensionByte(c);
  } else {
    return badChunk("chunk size is no hexadecimal number");
  }
  return {};
}

std::expected<void, Http1Error> Http1BodyReader::extensionByte(char c) {
  if (c == '\r') {
    state_ = State::kSizeEnd;
    return {};
  }
  if (!isTextChar(c)) {
    return badChunk("control character in a chunk extension");
  }
  if (++extension_bytes_ > limits_.max_chunk_extension_bytes) {
    return badChunk("chunk extension too long");
  }
  return {};
}

std::expected<void, Http1Error> Http1BodyReader::endOfSizeLine(char c) {
  if (c != '\n') {
    return badChunk("chunk line does not end with CRLF");
  }
  if (remaining_ == 0) {
    state_ = State::kDone;
    return {};
  }
  if (++chunks_ > limits_.max_chunks) {
    return badChunk("too many chunks");
  }
  state_ = State::kData;
  return {};
}

}  // namespace penstock::http
