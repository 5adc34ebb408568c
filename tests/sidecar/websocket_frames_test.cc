#include "sidecar/websocket_frames.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

// A client's frame: masked. first: the first byte, opcode and flags.
std::string frame(std::uint8_t first, std::string_view payload, std::size_t claimed_size = 0) {
  const std::size_t size = claimed_size == 0 ? payload.size() : claimed_size;
  std::string out{static_cast<char>(first)};
  if (size < 126) {
    out += static_cast<char>(0x80 | size);
  } else if (size < 65536) {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(size >> 8);
    out += static_cast<char>(size & 0xFF);
  } else {
    out += static_cast<char>(0x80 | 127);
    for (int i = 7; i >= 0; --i) {
      out += static_cast<char>(size >> (8 * i) & 0xFF);
    }
  }
  const char mask[] = {1, 2, 3, 4};
  out.append(mask, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  return out;
}

class WebSocketReaderTest : public testing::Test, protected WebSocketReader::Handler {
 protected:
  bool mayKeep(std::size_t bytes) override {
    kept_ += bytes;
    return kept_ <= room_;
  }
  void onClientMessage(bool text, std::string message) override {
    heard_.push_back((text ? "text " : "binary ") + message);
  }
  void onPing(std::string_view payload) override {
    heard_.push_back("ping " + std::string(payload));
  }
  void onClientClose(std::uint16_t code, std::string_view reason) override {
    heard_.push_back("close " + std::to_string(code) + ' ' + std::string(reason));
  }
  void onBroken(std::uint16_t code, std::string_view why) override {
    heard_.push_back("broken " + std::to_string(code) + ' ' + std::string(why));
  }

  // In pieces of that many bytes.
  std::vector<std::string> read(const std::string& bytes, std::size_t piece = 1 << 20) {
    heard_.clear();
    kept_ = 0;
    WebSocketReader reader(100'000, *this);
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const std::string part = bytes.substr(at, piece);
      reader.feed({reinterpret_cast<const std::uint8_t*>(part.data()), part.size()});
    }
    return heard_;
  }

  std::vector<std::string> heard_;
  std::size_t kept_ = 0;
  std::size_t room_ = 1 << 20;
};

TEST_F(WebSocketReaderTest, ReadsMessagesHoweverTheyAreCut) {
  const std::string bytes = frame(0x81, "hello") + frame(0x82, "") + frame(0x89, "p") +
                            frame(0x8A, "unasked pong") + frame(0x81, std::string(300, 'x')) +
                            frame(0x81, std::string(70'000, 'y')) +
                            frame(0x88,
                                  "\x03\xE8"
                                  "bye");
  for (const std::size_t piece : {1u, 2u, 7u, 1u << 20}) {
    EXPECT_THAT(read(bytes, piece),
                ElementsAre("text hello", "binary ", "ping p", "text " + std::string(300, 'x'),
                            "text " + std::string(70'000, 'y'), "close 1000 bye"));
  }
}

TEST_F(WebSocketReaderTest, PutsFragmentsTogetherAroundControlFrames) {
  EXPECT_THAT(read(frame(0x01, "a\xC3") + frame(0x89, "") + frame(0x00, "\xA4") + frame(0x80, "b")),
              ElementsAre("ping ",
                          "text a\xC3\xA4"
                          "b"));
}

TEST_F(WebSocketReaderTest, SaysNothingAfterTheClose) {
  EXPECT_THAT(read(frame(0x88, "") + frame(0x81, "late")), ElementsAre("close 1005 "));
}

TEST_F(WebSocketReaderTest, RefusesWhatAClientMayNotSend) {
  const std::pair<std::string, const char*> rows[] = {
      {frame(0xC1, "x"), "broken 1002 reserved"},
      {std::string("\x81\x01x", 3), "broken 1002 a client"},
      {frame(0x83, "x"), "broken 1002 unknown"},
      {frame(0x8B, "x"), "broken 1002 unknown"},
      {frame(0x80, "x"), "broken 1002 a fragment"},
      {frame(0x01, "x") + frame(0x81, "y"), "broken 1002 a fragment"},
      {frame(0x09, "x"), "broken 1002 a control"},
      {frame(0x89, std::string(126, 'x')), "broken 1002 a control"},
      {frame(0x88, "x"), "broken 1002 a close"},
      {frame(0x88, std::string("\x03\xED", 2)), "broken 1002 a close"},
      {frame(0x88, std::string("\x03\xE8\xFF", 3)), "broken 1007 a reason"},
      {frame(0x81, "\xFF"), "broken 1007 text"},
      {frame(0x01, "\xC3") + frame(0x80, "x"), "broken 1007 text"},
      {frame(0x82, "", 100'001), "broken 1009"},
      {frame(0x02, std::string(60'000, 'x')) + frame(0x80, "", 40'001), "broken 1009"},
      {frame(0x82, "", 0xFFFFFFFFFFFFFFFF), "broken 1009"},
  };
  for (const auto& [bytes, expected] : rows) {
    EXPECT_THAT(read(bytes), ElementsAre(StartsWith(expected)));
    EXPECT_THAT(read(bytes, 1), ElementsAre(StartsWith(expected)));
  }
}

// In the frame that has them, which may never end.
TEST_F(WebSocketReaderTest, RefusesBytesThatAreNotUtf8AsSoonAsTheyCome) {
  for (const char* bad : {"\xFF", "ab\xC3(", "\xE2\x82z", "\xED\xA0", "\xF4\x90", "\xC0"}) {
    EXPECT_THAT(read(frame(0x01, bad)), ElementsAre(StartsWith("broken 1007"))) << bad;
    EXPECT_THAT(read(frame(0x01, bad), 1), ElementsAre(StartsWith("broken 1007"))) << bad;
    EXPECT_THAT(read(frame(0x01, "a\xC3") + frame(0x00, "\xA4" + std::string(bad))),
                ElementsAre(StartsWith("broken 1007")))
        << bad;
    EXPECT_THAT(read(frame(0x81, bad, 90'000)), ElementsAre(StartsWith("broken 1007"))) << bad;
  }
  EXPECT_THAT(read(frame(0x01, "\xE2") + frame(0x00, "\x82")), testing::IsEmpty());
  EXPECT_THAT(read(frame(0x01, "\xE2\x82") + frame(0x80, "")),
              ElementsAre(StartsWith("broken 1007")));
  EXPECT_THAT(read(frame(0x02, "\xFF", 10)), testing::IsEmpty()) << "bytes are no text";
}

TEST_F(WebSocketReaderTest, EndsWhereThereIsNoRoomForMore) {
  room_ = 99;
  EXPECT_THAT(read(frame(0x02, std::string(50, 'x')) + frame(0x89, "p") +
                   frame(0x00, std::string(50, 'x'))),
              ElementsAre("ping p", StartsWith("broken 1013")));
}

TEST_F(WebSocketReaderTest, TakesAMessageAtTheBound) {
  EXPECT_THAT(read(frame(0x82, std::string(100'000, 'x'))), testing::SizeIs(1));
}

TEST(WebSocketFrames, AreWrittenWithTheShortestLength) {
  for (const std::size_t size : {0u, 125u, 126u, 65535u, 65536u}) {
    std::string out;
    appendWebSocketFrame(out, WebSocketOpcode::kBinary, std::string(size, 'x'));
    EXPECT_EQ(static_cast<std::uint8_t>(out[0]), 0x82);
    EXPECT_EQ(out.size() - size, size < 126 ? 2u : size < 65536 ? 4u : 10u);
  }
}

TEST(WebSocketFrames, CloseCutsItsReasonBetweenCharacters) {
  std::string out;
  appendWebSocketClose(out, 1011, std::string(122, 'x') + "\xC3\xA4");
  EXPECT_EQ(out.size(), 2u + 2 + 122);
  out.clear();
  appendWebSocketClose(out, kCloseNoStatus, "ignored");
  EXPECT_EQ(out, std::string("\x88\0", 2));
}

}  // namespace
}  // namespace penstock::sidecar
