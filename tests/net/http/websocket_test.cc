#include "net/http/websocket.h"

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

TEST(WebSocket, AnswersAKeyAsInTheExampleOfRfc6455) {
  EXPECT_EQ(webSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, MakesKeysThatAreKeysAndNeverTheSame) {
  const std::string key = newWebSocketKey();
  EXPECT_TRUE(isWebSocketKey(key)) << key;
  EXPECT_NE(key, newWebSocketKey());
}

TEST(WebSocket, KnowsAKey) {
  EXPECT_TRUE(isWebSocketKey("AAAAAAAAAAAAAAAAAAAAAA=="));
  for (const char* key : {"", "AAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAA===",
                          "AAAAAAAAAAAA AAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAAAA=="}) {
    EXPECT_FALSE(isWebSocketKey(key)) << key;
  }
}

TEST(WebSocket, KeepsTheHandshakeToItself) {
  Headers headers;
  for (const char* name : {"sec-websocket-key", "sec-websocket-version", "sec-websocket-accept",
                           "sec-websocket-protocol", "sec-websocket-extensions"}) {
    headers.add(name, "x");
  }
  removeWebSocketHandshake(headers);
  EXPECT_EQ(headers.size(), 2U);
  EXPECT_TRUE(headers.has("sec-websocket-protocol"));
  EXPECT_TRUE(headers.has("sec-websocket-extensions"));
}

}  // namespace
}  // namespace penstock::http
