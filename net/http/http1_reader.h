#pragma once

#include <cstddef>
#include <expected>
#include <string_view>

#include "net/http/http1_body.h"
#include "net/http/http1_message.h"
#include "net/http/http1_parser.h"
#include "net/http/limits.h"

namespace penstock::http {

// Takes the messages of one connection apart, one step at a time, so that its user may stop between
// any two. Keeps no bytes but those of an unfinished header block. After an error it is not used
// again.
class Http1Reader {
 public:
  enum class Event {
    kNeedMore,  // all of input was taken
    kHead,      // bytes: a complete header block; beginBody() is called before the next step
    kData,      // bytes: a piece of the body; last: and the message ends with it
    kEnd,       // the message ends; trailers() has its trailer section
  };
  struct Step {
    Event event;
    std::string_view bytes;  // valid until the next call, or until input's memory goes
    bool last = false;
  };

  // start: kRequestLine or kStatusLine.
  Http1Reader(Http1BlockReader::Start start, const Limits& limits)
      : start_(start), limits_(limits), block_(start, limits), body_(limits) {}

  // Takes bytes off the front of input.
  std::expected<Step, Http1Error> next(std::string_view& input);
  // What follows the head. kNone: nothing, the next head.
  void beginBody(const Http1Framing& framing);
  // End of file: whether that ends a message as it should.
  bool endsAtClose() const { return state_ == State::kBody && body_.untilClose(); }

  // Whether part of a head has come.
  bool inHead() const { return state_ == State::kHead && block_.started(); }
  // Body bytes still to come as far as is known.
  std::uint64_t remaining() const { return body_.remaining(); }
  Headers takeTrailers() { return std::move(trailers_); }

 private:
  enum class State { kHead, kBody, kTrailers };
  void nextMessage();

  Http1BlockReader::Start start_;
  const Limits& limits_;
  State state_ = State::kHead;
  Http1BlockReader block_;
  Http1BodyReader body_;
  Headers trailers_;
};

}  // namespace penstock::http
