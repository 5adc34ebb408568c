#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace penstock::sidecar {

// The frames of RFC 6455, on the server's side, without extensions.

enum class WebSocketOpcode : std::uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

// Close codes of RFC 6455 §7.4.1.
constexpr std::uint16_t kCloseNormal = 1000;
constexpr std::uint16_t kCloseProtocolError = 1002;
constexpr std::uint16_t kCloseUnsupported = 1003;
constexpr std::uint16_t kCloseNoStatus = 1005;
constexpr std::uint16_t kCloseAbnormal = 1006;
constexpr std::uint16_t kCloseBadText = 1007;
constexpr std::uint16_t kCloseTooBig = 1009;
constexpr std::uint16_t kCloseInternal = 1011;
constexpr std::uint16_t kCloseTryLater = 1013;

// Reads a client's frames, however they are cut, and puts fragmented messages together. What a
// client may not send ends it as soon as that is known, within a frame too: then it asks for a
// close with a code, and reads nothing more.
class WebSocketReader {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // So many bytes more of a message are to be kept until it is complete. False: there is no room.
    virtual bool mayKeep(std::size_t bytes) = 0;
    virtual void onClientMessage(bool text, std::string message) = 0;
    virtual void onPing(std::string_view payload) = 0;
    // The client's close frame; code kCloseNoStatus if it gives none. The last call.
    virtual void onClientClose(std::uint16_t code, std::string_view reason) = 0;
    // The client broke the rules: close with this code. The last call.
    virtual void onBroken(std::uint16_t code, std::string_view why) = 0;
  };

  // max_message: bytes of a whole message.
  WebSocketReader(std::size_t max_message, Handler& handler);
  void feed(std::span<const std::uint8_t> data);
  // Whether the last call has been made.
  bool done() const { return done_; }

 private:
  struct Head {
    bool final;
    WebSocketOpcode opcode;
    std::uint64_t payload_size;
    std::uint8_t mask[4];
  };

  bool takeHead();
  bool checkHead();
  void takePayload(std::span<const std::uint8_t>& data);
  bool checkText();
  void frameComplete();
  void closeFrame();
  void broken(std::uint16_t code, std::string_view why);

  const std::size_t max_message_;
  Handler& handler_;
  bool done_ = false;
  std::string head_bytes_;
  bool in_payload_ = false;
  Head head_{};
  std::uint64_t payload_read_ = 0;
  std::string control_;
  bool in_message_ = false;  // a fragmented one
  bool text_ = false;
  std::string message_;
  std::size_t checked_ = 0;  // of a text, bytes known to be whole characters
};

// Appends one whole frame, unmasked, as a server sends it.
void appendWebSocketFrame(std::string& out, WebSocketOpcode opcode, std::string_view payload);
// A close frame. reason: cut at 123 bytes; code kCloseNoStatus: an empty one.
void appendWebSocketClose(std::string& out, std::uint16_t code, std::string_view reason);
// Whether a peer may send it in a close frame (RFC 6455 §7.4).
bool isCloseCode(std::uint16_t code);
// Whether the text is well-formed UTF-8.
bool isUtf8(std::string_view text);

}  // namespace penstock::sidecar
