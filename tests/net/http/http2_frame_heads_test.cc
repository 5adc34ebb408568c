#include "net/http/http2_frame_heads.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

using Bytes = std::vector<std::uint8_t>;

void addFrame(Bytes& to, std::size_t size) {
  to.insert(to.end(), {0, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size), 9,
                       0, 0, 0, 0, 1});
  to.insert(to.end(), size, std::uint8_t{7});
}

// Everything comes out in order, and no call ends inside a head.
TEST(Http2FrameHeads, PassesHeadsWholeHoweverTheyCome) {
  Bytes all(24, 'P');
  std::vector<std::size_t> inside_head(all.size() + 2000, 0);
  for (const std::size_t size : {0u, 1u, 300u, 0u, 0u, 17u}) {
    for (std::size_t i = 1; i < 9; ++i) {
      inside_head[all.size() + i] = 1;
    }
    addFrame(all, size);
  }
  for (const std::size_t piece : {1u, 2u, 5u, 8u, 9u, 10u, 100u, 1000u}) {
    Http2FrameHeads heads(24);
    Bytes passed;
    for (std::size_t at = 0; at < all.size(); at += piece) {
      const std::span<const std::uint8_t> now =
          heads.pass(std::span(all).subspan(at, std::min(piece, all.size() - at)));
      passed.insert(passed.end(), now.begin(), now.end());
      ASSERT_EQ(inside_head[passed.size()], 0u) << "pieces of " << piece;
    }
    EXPECT_EQ(passed, all);
  }
}

TEST(Http2FrameHeads, HoldsNoPayloadBack) {
  Http2FrameHeads heads(0);
  Bytes frame;
  addFrame(frame, 100);
  EXPECT_EQ(heads.pass(std::span(frame).first(12)).size(), 12u);
  EXPECT_EQ(heads.pass(std::span(frame).subspan(12, 1)).size(), 1u);
}

}  // namespace
}  // namespace penstock::http
