#include "net/http/http2_frame_heads.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::uint8_t kData = 0;
constexpr std::uint8_t kHeaders = 1;
constexpr std::uint8_t kContinuation = 9;
constexpr std::uint8_t kEndHeaders = 4;

void addFrame(Bytes& to, std::uint8_t type, std::uint8_t flags, std::size_t size) {
  to.insert(to.end(), {0, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size),
                       type, flags, 0, 0, 0, 1});
  to.insert(to.end(), size, std::uint8_t{7});
}

// Everything comes out in order, and no call ends where it must not.
TEST(Http2FrameHeads, PassesHeadsWholeHoweverTheyCome) {
  struct Row {
    std::uint8_t type, flags;
    std::size_t size;
    bool block_goes_on;
  };
  Bytes all(24, 'P');
  std::vector<std::size_t> forbidden(10'000, 0);
  for (const Row& row :
       {Row{kData, 0, 0, false}, Row{kHeaders, 0, 20, true}, Row{kContinuation, 0, 0, true},
        Row{kContinuation, 0, 1, true}, Row{kContinuation, 0, 300, true},
        Row{kContinuation, kEndHeaders, 5, false}, Row{kHeaders, kEndHeaders, 0, false},
        Row{kData, 0, 17, false}}) {
    for (std::size_t i = 1; i < 9; ++i) {
      forbidden[all.size() + i] = 1;
    }
    addFrame(all, row.type, row.flags, row.size);
    forbidden[all.size()] = row.block_goes_on ? 1 : 0;
  }
  for (const std::size_t piece : {1u, 2u, 5u, 8u, 9u, 10u, 29u, 100u, 1000u}) {
    Http2FrameHeads heads(24);
    Bytes passed;
    for (std::size_t at = 0; at < all.size(); at += piece) {
      const std::span<const std::uint8_t> now =
          heads.pass(std::span(all).subspan(at, std::min(piece, all.size() - at)));
      passed.insert(passed.end(), now.begin(), now.end());
      ASSERT_EQ(forbidden[passed.size()], 0u) << "pieces of " << piece << ", at " << passed.size();
    }
    EXPECT_EQ(passed, all) << piece;
  }
}

TEST(Http2FrameHeads, CountsFramesOtherThanDataWithSomethingInIt) {
  constexpr std::uint8_t kUnknown = 0xfa;
  constexpr std::uint8_t kPadded = 8;
  const auto countOf = [](std::uint8_t type, std::uint8_t flags, std::size_t size) {
    Http2FrameHeads heads(0);
    Bytes frames;
    addFrame(frames, type, flags, size);
    addFrame(frames, type, flags, size);
    for (const std::uint8_t byte : frames) {
      heads.pass(std::span(&byte, 1));
    }
    const std::size_t count = heads.takeCount();
    EXPECT_EQ(heads.takeCount(), 0u);
    return count;
  };
  EXPECT_EQ(countOf(kHeaders, kEndHeaders, 5), 2u);
  EXPECT_EQ(countOf(kUnknown, 0, 0), 2u);
  EXPECT_EQ(countOf(kUnknown, 0, 1000), 2u);
  EXPECT_EQ(countOf(kData, 0, 0), 2u);
  EXPECT_EQ(countOf(kData, kPadded, 256), 2u);
  EXPECT_EQ(countOf(kData, 0, 1), 0u);
  EXPECT_EQ(countOf(kData, kPadded, 257), 0u);
}

TEST(Http2FrameHeads, NoticesTooManyContinuationsHoweverTheyCome) {
  for (const std::size_t size : {0u, 1u, 300u}) {
    for (const std::size_t piece : {1u, 9u, 10u, 100'000u}) {
      SCOPED_TRACE(testing::Message() << size << " bytes each, in pieces of " << piece);
      const auto tooMany = [&](std::size_t count) {
        Http2FrameHeads heads(0);
        Bytes frames;
        for (int block = 0; block < 2; ++block) {
          addFrame(frames, kHeaders, 0, 5);
          for (std::size_t i = 1; i < count; ++i) {
            addFrame(frames, kContinuation, 0, size);
          }
          addFrame(frames, kContinuation, kEndHeaders, size);
        }
        for (std::size_t at = 0; at < frames.size(); at += piece) {
          heads.pass(std::span(frames).subspan(at, std::min(piece, frames.size() - at)));
        }
        return heads.tooManyContinuations();
      };
      EXPECT_FALSE(tooMany(8));
      EXPECT_TRUE(tooMany(9));
    }
  }
}

TEST(Http2FrameHeads, PassesAContinuationOfNothingAtOnce) {
  Http2FrameHeads heads(0);
  Bytes stray;
  addFrame(stray, kContinuation, 0, 0);
  EXPECT_EQ(heads.pass(stray).size(), stray.size());
}

TEST(Http2FrameHeads, HoldsNoOtherPayloadBack) {
  Http2FrameHeads heads(0);
  Bytes frame;
  addFrame(frame, kData, 0, 100);
  EXPECT_EQ(heads.pass(std::span(frame).first(12)).size(), 12u);
  EXPECT_EQ(heads.pass(std::span(frame).subspan(12)).size(), 97u);
}

}  // namespace
}  // namespace penstock::http
