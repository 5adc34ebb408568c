#include "net/http/websocket.h"

#include <algorithm>
#include <array>

#include "net/digest.h"

namespace penstock::http {
namespace {

constexpr std::size_t kKeyBytes = 16;
constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::array<std::string_view, 3> kHandshakeFields = {
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-accept"};

}  // namespace

bool isWebSocketKey(std::string_view key) {
  return key.size() == 24 && key.ends_with("==") &&
         std::ranges::all_of(key.substr(0, 22), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '+' || c == '/';
         });
}

std::string newWebSocketKey() {
  return net::randomBase64(kKeyBytes);
}

std::string webSocketAccept(std::string_view key) {
  return net::sha1Base64(std::string(key).append(kGuid));
}

bool isWebSocketHandshakeField(std::string_view name) {
  return std::ranges::find(kHandshakeFields, name) != kHandshakeFields.end();
}

void removeWebSocketHandshake(Headers& headers) {
  for (const std::string_view field : kHandshakeFields) {
    headers.remove(field);
  }
}

}  // namespace penstock::http
