#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "net/unique_fd.h"

// The frames of PROTOCOL.md, on the sidecar's side.
namespace penstock::runtime {

static_assert(std::endian::native == std::endian::little, "frames are written as they lie");

enum class FrameType : std::uint8_t {
  // to the worker
  kStart = 1,
  kInvoke = 2,
  kPredict = 3,
  kCancel = 4,
  kCredit = 5,
  kMessage = 6,
  kClosed = 7,
  kHealth = 8,
  // from the worker
  kHello = 32,
  kLoaded = 33,
  kLoadFailed = 34,
  kReady = 35,
  kStarted = 36,
  kEnded = 37,
  kHead = 38,
  kChunk = 39,
  kDone = 40,
  kAccept = 41,
  kSend = 42,
  kClose = 43,
  kReceived = 44,
  kHealthy = 45,
  kLog = 46,
};

constexpr std::uint8_t kFlagGo = 1;
constexpr std::uint8_t kFlagGather = 2;
constexpr std::uint8_t kFlagDescriptor = 0x80;

constexpr std::size_t kFrameHeaderBytes = 16;
constexpr std::size_t kMaxPayloadBytes = 1 << 20;
// Longer bodies travel by descriptor.
constexpr std::size_t kMaxInlineBodyBytes = 64 * 1024 - 1;

// What a SEND of a message of that size takes of its request's credit: the frame that it becomes at
// the client (RFC 6455 §5.2), since any number of empty messages would be free otherwise.
constexpr std::size_t sendBytes(std::size_t message_bytes) {
  return message_bytes + (message_bytes < 126 ? 2 : message_bytes < 65536 ? 4 : 10);
}

// A frame that has arrived; payload is valid during the call that hands it on.
struct Frame {
  FrameType type;
  std::uint8_t flags = 0;
  std::uint64_t id = 0;
  std::string_view payload;
  net::UniqueFd body;  // with kFlagDescriptor; invalid if it was lost on its way
};

// Appends one frame to a string; its size is put in when this ends.
class FrameWriter {
 public:
  FrameWriter(std::string& out, FrameType type, std::uint64_t id, std::uint8_t flags = 0)
      : out_(out), begin_(out.size()) {
    put(std::uint32_t{0});
    put(static_cast<std::uint8_t>(type));
    put(flags);
    put(std::uint16_t{0});
    put(id);
  }
  ~FrameWriter() {
    const auto size = static_cast<std::uint32_t>(out_.size() - begin_ - kFrameHeaderBytes);
    std::memcpy(out_.data() + begin_, &size, sizeof size);
  }
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  template <typename T>
    requires std::is_integral_v<T>
  FrameWriter& put(T number) {
    out_.append(reinterpret_cast<const char*>(&number), sizeof number);
    return *this;
  }
  FrameWriter& put(std::string_view bytes) {
    out_.append(bytes);
    return *this;
  }

 private:
  std::string& out_;
  const std::size_t begin_;
};

// Reads the parts of a payload in order. What is not there reads as zero or empty, and ok() tells.
class PayloadReader {
 public:
  explicit PayloadReader(std::string_view payload) : rest_(payload) {}

  template <typename T>
    requires std::is_integral_v<T>
  T number() {
    T value{};
    const std::string_view piece = bytes(sizeof value);
    if (ok_) {
      std::memcpy(&value, piece.data(), sizeof value);
    }
    return value;
  }
  std::string_view bytes(std::size_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view piece = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return piece;
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace penstock::runtime
