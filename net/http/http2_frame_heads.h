#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "net/http/http2_ended_streams.h"

namespace penstock::http {

// Reads the heads of the frames that a peer sends, for what nghttp2 1.52 does not do well.
//
// Cuts what has come where nghttp2 may be given it. It counts each call that ends or begins
// before a whole head of a CONTINUATION frame as one more such frame, and gives up after eight: fed
// as the network cuts it, an honest request would fail. So the head of a frame is kept back until
// it is whole, and with it the last byte before it if it must be a CONTINUATION's.
//
// Counts frames other than DATA with something in it, unknown ones too, which nghttp2 tells nobody
// of.
//
// Notices DATA and HEADERS on a stream that the peer has ended before, which nghttp2 would only do
// with all that it knows of each closed stream in memory.
class Http2FrameHeads {
 public:
  static constexpr std::size_t kContinuations = 8;
  // preface: so many bytes at the beginning are no frames. continuations: of one message, at most.
  explicit Http2FrameHeads(std::size_t preface, std::size_t continuations = kContinuations)
      : skip_(preface), max_continuations_(continuations) {}
  // Of what has come, what is to be read now. Valid until the next call, and as long as bytes is.
  std::span<const std::uint8_t> pass(std::span<const std::uint8_t> bytes);
  // DATA or HEADERS has come on a stream that had ended, RFC 9113 §5.1: a connection error.
  bool cameTooLate() const { return came_too_late_; }
  // How many frames have begun since the last call that are not DATA with something in it.
  // CONTINUATION is not counted, for it has a bound of its own.
  std::size_t takeCount() { return std::exchange(counts_.frames, 0); }
  // More CONTINUATION frames in a row than any honest message has. What is kept back waits for
  // bytes of a payload, so nghttp2 would never see empty ones.
  bool tooManyContinuations() const { return too_many_continuations_; }

 private:
  struct Counts {
    std::size_t frames = 0;
    std::size_t continuations = 0;  // in a row
  };

  void look(std::span<const std::uint8_t> head);

  std::size_t skip_;  // bytes until the next head
  const std::size_t max_continuations_;
  bool block_open_ = false;  // a CONTINUATION must follow
  bool came_too_late_ = false;
  bool too_many_continuations_ = false;
  Counts counts_;
  Http2EndedStreams ended_;
  std::vector<std::uint8_t> kept_;
  std::vector<std::uint8_t> joined_;
};

}  // namespace penstock::http
