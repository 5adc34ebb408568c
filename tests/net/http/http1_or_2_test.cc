// How a connection's protocol is found out: under TLS by ALPN, else by its first bytes, which may
// come in any pieces.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/http/http1_server_fixture.h"

namespace penstock::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// An empty SETTINGS frame.
const std::string kSettings = std::string("\0\0\0\4\0\0\0\0\0", 9);

class Http1Or2 : public ServerConnectionTest {
 protected:
  // The type of the first frame that came: 4 is SETTINGS.
  static int frameType(std::string_view bytes) {
    return bytes.size() < 9 ? -1 : static_cast<unsigned char>(bytes[3]);
  }
};

TEST_F(Http1Or2, PrefaceChoosesHttp2) {
  EXPECT_EQ(frameType(exchange(std::string(kPreface) + kSettings)), 4);
  EXPECT_EQ(server_->protocol(), Protocol::kHttp2);
}

TEST_F(Http1Or2, PrefaceMayComeInAnyPieces) {
  for (std::size_t piece = 1; piece < kPreface.size(); ++piece) {
    start();
    const std::string bytes = std::string(kPreface) + kSettings;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      peer_->send(bytes.substr(at, piece));
      settle();
    }
    EXPECT_EQ(frameType(peer_->take()), 4) << piece;
    EXPECT_EQ(server_->protocol(), Protocol::kHttp2) << piece;
    server_->close();
  }
}

TEST_F(Http1Or2, AnythingThatIsNoPrefaceIsHttp1) {
  on_head_ = [](HeardRequest& heard) {
    if (heard.ended) {
      heard.answer(200, "");
    }
  };
  for (const std::string_view method : {"GET", "P", "PR", "PRIX", "POST", "PUT"}) {
    start();
    // Cut where the preface still matches.
    const std::string text = std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n";
    peer_->send(text.substr(0, 2));
    settle();
    peer_->send(text.substr(2));
    settle();
    EXPECT_THAT(peer_->take(), StartsWith("HTTP/1.1 200 ")) << method;
    EXPECT_EQ(last().head.method, method);
    server_->close();
  }
}

TEST_F(Http1Or2, PrefaceThatGoesWrongLateIsABadHttp1Request) {
  start();
  EXPECT_EQ(exchange("PRI * HTTP/2.0\r\n"), "");
  EXPECT_THAT(exchange("x: y\r\n\r\n"), StartsWith("HTTP/1.1 505 "));
}

TEST_F(Http1Or2, NothingAtAllIsClosedAfterTheTimeForAHead) {
  start();
  settle();
  advance(milliseconds(9999));
  EXPECT_FALSE(closed_);
  advance(milliseconds(1));
  EXPECT_TRUE(closed_);
  EXPECT_TRUE(peer_->closed());
}

TEST_F(Http1Or2, HalfAPrefaceIsClosedAfterItsTime) {
  start();
  advance(seconds(9));
  exchange("PRI * ");
  advance(milliseconds(4999));
  EXPECT_FALSE(closed_) << "counted from its first byte";
  advance(milliseconds(1));
  EXPECT_TRUE(closed_);
  EXPECT_EQ(peer_->take(), "");
}

TEST_F(Http1Or2, WaitsALittleForWhatComesWhenItDrainsWhileUndecided) {
  start();
  server_->drain(ServerConnection::Idle::kAnswer);
  advance(milliseconds(999));
  EXPECT_FALSE(closed_);
  advance(milliseconds(1));
  EXPECT_TRUE(closed_);

  on_head_ = [](HeardRequest& heard) { heard.answer(200, ""); };
  start();
  server_->drain(ServerConnection::Idle::kAnswer);
  EXPECT_THAT(exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
              HasSubstr("\r\nconnection: close\r\n"));
}

TEST_F(Http1Or2, DrainsClosesAndLosesItsPeerWhileUndecided) {
  start();
  server_->drain(ServerConnection::Idle::kClose);
  EXPECT_FALSE(closed_) << "not inside the owner's own call";
  settle();
  EXPECT_TRUE(closed_);

  start();
  exchange("PRI");
  peer_->close();
  settle();
  EXPECT_TRUE(closed_);

  start();
  exchange("PRI");
  server_->close();
  settle();
  EXPECT_FALSE(closed_);
  EXPECT_TRUE(peer_->closed());
}

}  // namespace
}  // namespace penstock::http
