#include "proxy/filters/router/request_replay.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

constexpr std::size_t kLimit = 10;

net::Buffer bufferOf(std::string_view text) {
  net::Buffer buffer;
  buffer.append(text);
  return buffer;
}

// What would be sent again, after what is left in the exchange.
std::string restored(RequestReplay& replay) {
  net::Buffer body;
  replay.restore(body);
  return body.toString();
}

TEST(RequestReplay, ABodyOfWhichNothingWentOutIsWhole) {
  RequestReplay replay;
  EXPECT_TRUE(replay.isWhole());
  EXPECT_FALSE(replay.keepsCopy());
  EXPECT_EQ(restored(replay), "");
  replay.drop();
  EXPECT_TRUE(replay.isWhole());
}

TEST(RequestReplay, WhatWentOutIsRestoredInOrderAndKeptAgain) {
  RequestReplay replay;
  replay.keep(bufferOf("ab"), false, kLimit, false);
  replay.keep(bufferOf("cd"), true, kLimit, false);
  EXPECT_EQ(replay.size(), 4u);
  EXPECT_EQ(restored(replay), "abcd");
  EXPECT_FALSE(replay.keepsCopy());
  replay.keep(bufferOf("abcd"), true, kLimit, false);
  EXPECT_EQ(restored(replay), "abcd") << "for a third attempt";
}

TEST(RequestReplay, AWholeBodyIsKeptWhateverItsSize) {
  RequestReplay replay;
  replay.keep(bufferOf("more than the limit"), true, kLimit, false);
  EXPECT_TRUE(replay.isWhole());
}

TEST(RequestReplay, BeyondTheLimitABodyThatComesInPiecesIsGone) {
  RequestReplay replay;
  replay.keep(bufferOf("12345"), false, kLimit, false);
  replay.keep(bufferOf("67890"), false, kLimit, false);
  EXPECT_TRUE(replay.isWhole()) << "exactly the limit";
  replay.keep(bufferOf("1"), false, kLimit, false);
  EXPECT_FALSE(replay.isWhole());
  EXPECT_EQ(replay.size(), 0u);
  replay.keep(bufferOf("2"), true, kLimit, false);
  EXPECT_FALSE(replay.isWhole()) << "its beginning is not there";
}

TEST(RequestReplay, NothingIsKeptOnceTheAnswerHasBegun) {
  RequestReplay replay;
  replay.keep(bufferOf("ab"), false, kLimit, true);
  EXPECT_FALSE(replay.isWhole());
  RequestReplay begun_later;
  begun_later.keep(bufferOf("ab"), false, kLimit, false);
  begun_later.drop();
  EXPECT_FALSE(begun_later.isWhole());
  EXPECT_EQ(begun_later.size(), 0u);
}

}  // namespace
}  // namespace penstock::proxy
