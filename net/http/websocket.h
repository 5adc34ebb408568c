#pragma once

#include <string>
#include <string_view>

#include "net/http/headers.h"

// The handshake of HTTP/1.1 (RFC 6455 §4), by which both sides prove that they mean WebSocket.
// HTTP/2 has none (RFC 8441). Pure but for newWebSocketKey().
namespace penstock::http {

inline constexpr std::string_view kTakenWebSocketVersion = "13";

// 16 bytes in base64.
bool isWebSocketKey(std::string_view key);
std::string newWebSocketKey();
// The Sec-WebSocket-Accept that answers a key.
std::string webSocketAccept(std::string_view key);

// Fields of the handshake itself, which a codec makes and checks and never passes on.
bool isWebSocketHandshakeField(std::string_view name);
void removeWebSocketHandshake(Headers& headers);

}  // namespace penstock::http
