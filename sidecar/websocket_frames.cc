#include "sidecar/websocket_frames.h"

#include <algorithm>
#include <utility>

#include <simdjson.h>

#include "base/json_escape.h"

namespace penstock::sidecar {
namespace {

constexpr std::size_t kMaxControlPayload = 125;

bool isControl(WebSocketOpcode opcode) {
  return (static_cast<std::uint8_t>(opcode) & 8) != 0;
}

bool isKnown(WebSocketOpcode opcode) {
  return opcode <= WebSocketOpcode::kBinary ||
         (opcode >= WebSocketOpcode::kClose && opcode <= WebSocketOpcode::kPong);
}

std::uint8_t at(std::string_view bytes, std::size_t i) {
  return static_cast<std::uint8_t>(bytes[i]);
}

std::uint64_t bigEndian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    value = value << 8 | at(bytes, i);
  }
  return value;
}

// Bytes of the head, as far as its first two tell.
std::size_t headSize(std::string_view first_two) {
  const std::uint8_t size = at(first_two, 1) & 0x7F;
  const std::size_t masked = (at(first_two, 1) & 0x80) != 0 ? 4 : 0;
  return 2 + masked + (size == 126 ? 2 : size == 127 ? 8 : 0);
}

}  // namespace

WebSocketReader::WebSocketReader(std::size_t max_message, Handler& handler)
    : max_message_(max_message), handler_(handler) {}

void WebSocketReader::feed(std::span<const std::uint8_t> data) {
  while (!done_ && !data.empty()) {
    if (in_payload_) {
      takePayload(data);
      continue;
    }
    head_bytes_ += static_cast<char>(data.front());
    data = data.subspan(1);
    if (head_bytes_.size() >= 2 && head_bytes_.size() == headSize(head_bytes_) && takeHead() &&
        head_.payload_size == 0) {
      frameComplete();
    }
  }
}

bool WebSocketReader::takeHead() {
  const std::string bytes = std::exchange(head_bytes_, {});
  const std::uint8_t first = at(bytes, 0);
  const std::uint8_t size = at(bytes, 1) & 0x7F;
  if ((first & 0x70) != 0) {
    broken(kCloseProtocolError, "reserved bits are set");
    return false;
  }
  if ((at(bytes, 1) & 0x80) == 0) {
    broken(kCloseProtocolError, "a client's frames are masked");
    return false;
  }
  const std::size_t length_size = size == 126 ? 2 : size == 127 ? 8 : 0;
  head_.final = (first & 0x80) != 0;
  head_.opcode = static_cast<WebSocketOpcode>(first & 0x0F);
  head_.payload_size =
      length_size == 0 ? size : bigEndian(std::string_view(bytes).substr(2, length_size));
  for (std::size_t i = 0; i < 4; ++i) {
    head_.mask[i] = at(bytes, 2 + length_size + i);
  }
  return checkHead();
}

bool WebSocketReader::checkHead() {
  if (!isKnown(head_.opcode)) {
    broken(kCloseProtocolError, "unknown opcode");
  } else if (isControl(head_.opcode)) {
    if (!head_.final || head_.payload_size > kMaxControlPayload) {
      broken(kCloseProtocolError, "a control frame is short and whole");
    }
    control_.clear();
  } else if ((head_.opcode == WebSocketOpcode::kContinuation) != in_message_) {
    broken(kCloseProtocolError, "a fragment out of place");
  } else if (head_.payload_size > max_message_ - message_.size()) {
    broken(kCloseTooBig, "the message is too long");
  } else if (!in_message_) {
    text_ = head_.opcode == WebSocketOpcode::kText;
  }
  in_payload_ = !done_ && head_.payload_size > 0;
  payload_read_ = 0;
  return !done_;
}

void WebSocketReader::takePayload(std::span<const std::uint8_t>& data) {
  const auto count = static_cast<std::size_t>(
      std::min<std::uint64_t>(data.size(), head_.payload_size - payload_read_));
  const bool control = isControl(head_.opcode);
  if (!control && !handler_.mayKeep(count)) {
    broken(kCloseTryLater, "too much is being received at once; try again later");
    return;
  }
  std::string& to = control ? control_ : message_;
  const std::size_t before = to.size();
  to.append(reinterpret_cast<const char*>(data.data()), count);
  for (std::size_t i = 0; i < count; ++i) {
    to[before + i] = static_cast<char>(at(to, before + i) ^ head_.mask[(payload_read_ + i) % 4]);
  }
  payload_read_ += count;
  data = data.subspan(count);
  if (!control && text_ && !checkText()) {
    return;
  }
  if (payload_read_ == head_.payload_size) {
    in_payload_ = false;
    frameComplete();
  }
}

// Looks at what has come since the last call.
bool WebSocketReader::checkText() {
  const std::string_view fresh = std::string_view(message_).substr(checked_);
  const std::size_t whole = fresh.size() - unfinishedUtf8(fresh);
  if (!isUtf8(fresh.substr(0, whole))) {
    broken(kCloseBadText, "text that is not UTF-8");
    return false;
  }
  checked_ += whole;
  return true;
}

void WebSocketReader::frameComplete() {
  switch (head_.opcode) {
    case WebSocketOpcode::kClose:
      closeFrame();
      return;
    case WebSocketOpcode::kPing:
      handler_.onPing(control_);
      return;
    case WebSocketOpcode::kPong:
      return;
    default:
      break;
  }
  in_message_ = !head_.final;
  if (!head_.final) {
    return;
  }
  if (text_ && std::exchange(checked_, 0) < message_.size()) {
    broken(kCloseBadText, "text that ends inside a character");
    return;
  }
  handler_.onClientMessage(text_, std::exchange(message_, {}));
}

void WebSocketReader::closeFrame() {
  const auto code = control_.empty() ? kCloseNoStatus
                                     : static_cast<std::uint16_t>(bigEndian(control_.substr(0, 2)));
  const std::string_view reason =
      std::string_view(control_).substr(std::min<std::size_t>(2, control_.size()));
  if (control_.size() == 1 || (!control_.empty() && !isCloseCode(code))) {
    broken(kCloseProtocolError, "a close code that is none");
  } else if (!isUtf8(reason)) {
    broken(kCloseBadText, "a reason that is not UTF-8");
  } else {
    done_ = true;
    handler_.onClientClose(code, reason);
  }
}

void WebSocketReader::broken(std::uint16_t code, std::string_view why) {
  done_ = true;
  message_ = std::string();
  handler_.onBroken(code, why);
}

void appendWebSocketFrame(std::string& out, WebSocketOpcode opcode, std::string_view payload) {
  out += static_cast<char>(0x80 | static_cast<std::uint8_t>(opcode));
  const std::size_t size = payload.size();
  int length_bytes = 0;
  if (size < 126) {
    out += static_cast<char>(size);
  } else if (size < 65536) {
    out += static_cast<char>(126);
    length_bytes = 2;
  } else {
    out += static_cast<char>(127);
    length_bytes = 8;
  }
  for (int i = length_bytes - 1; i >= 0; --i) {
    out += static_cast<char>(size >> (8 * i) & 0xFF);
  }
  out += payload;
}

void appendWebSocketClose(std::string& out, std::uint16_t code, std::string_view reason) {
  std::string payload;
  if (code != kCloseNoStatus) {
    payload += static_cast<char>(code >> 8);
    payload += static_cast<char>(code & 0xFF);
    payload += utf8Prefix(reason, kMaxControlPayload - 2);
  }
  appendWebSocketFrame(out, WebSocketOpcode::kClose, payload);
}

bool isCloseCode(std::uint16_t code) {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code <= 4999);
}

bool isUtf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace penstock::sidecar
