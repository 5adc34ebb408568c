#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/buffer.h"

namespace penstock::http {

// gRPC's framing of messages in a body: one byte that says "compressed", four of length (big
// endian), the message.
inline constexpr std::size_t kGrpcPrefixBytes = 5;

void appendGrpcMessage(net::Buffer& body, std::string_view message);

// Takes a gRPC body apart as it arrives, however it is cut. Holds at most one message, none longer
// than its bound: what is announced as longer is refused before any of it is kept. We never offer a
// compression, so a compressed message is the peer's fault. One thread.
class GrpcMessageReader {
 public:
  enum class Outcome {
    kMore,        // all bytes are taken, no message is complete
    kMessage,     // message() is the next one; there may be bytes left
    kCompressed,  // and kTooLong: the body cannot be read on
    kTooLong,
  };

  explicit GrpcMessageReader(std::size_t max_message_bytes)
      : max_message_bytes_(max_message_bytes) {}

  // Takes from the front of bytes what belongs to the next message. To be called until it returns
  // something else than kMessage. An error stays.
  Outcome read(std::span<const std::uint8_t>& bytes);
  // Valid until the next read().
  const std::string& message() const { return message_; }
  // Nothing of a message is held back: the body may end here.
  bool atBoundary() const { return prefix_size_ == 0; }

 private:
  bool readPrefix(std::span<const std::uint8_t>& bytes);

  const std::size_t max_message_bytes_;
  std::array<std::uint8_t, kGrpcPrefixBytes> prefix_{};
  std::size_t prefix_size_ = 0;
  std::size_t message_bytes_ = 0;  // as announced, once the prefix is complete
  std::string message_;
  Outcome failed_ = Outcome::kMore;
};

}  // namespace penstock::http
