#include "net/http/http1_reader.h"

#include <optional>
#include <utility>

namespace penstock::http {

std::expected<Http1Reader::Step, Http1Error> Http1Reader::next(std::string_view& input) {
  if (state_ == State::kBody) {
    auto piece = body_.read(input);
    if (!piece.has_value()) {
      return std::unexpected(std::move(piece.error()));
    }
    if (!piece->data.empty() || (piece->end && !body_.chunked())) {
      if (piece->end) {
        nextMessage();
      }
      return Step{Event::kData, piece->data, piece->end};
    }
    if (!piece->end) {
      return Step{Event::kNeedMore, {}};
    }
    state_ = State::kTrailers;
    block_.reset(Http1BlockReader::Start::kNone);
  }
  auto block = block_.read(input);
  if (!block.has_value()) {
    return std::unexpected(std::move(block.error()));
  }
  if (!block->has_value()) {
    return Step{Event::kNeedMore, {}};
  }
  if (state_ == State::kHead) {
    return Step{Event::kHead, **block};
  }
  if ((*block)->size() > 2) {
    auto trailers = readTrailers(**block, limits_);
    if (!trailers.has_value()) {
      return std::unexpected(std::move(trailers.error()));
    }
    trailers_ = std::move(*trailers);
  }
  nextMessage();
  return Step{Event::kEnd, {}};
}

void Http1Reader::beginBody(const Http1Framing& framing) {
  block_.reset(start_);
  if (framing.kind != Http1Framing::Kind::kNone) {
    body_.begin(framing);
    state_ = State::kBody;
  }
}

void Http1Reader::nextMessage() {
  state_ = State::kHead;
  block_.reset(start_);
}

}  // namespace penstock::http
