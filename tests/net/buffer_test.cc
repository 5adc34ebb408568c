#include "net/buffer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/uio.h>

#include "tests/support/allocated_bytes.h"

namespace penstock::net {
namespace {

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>('a' + i % 23);
  }
  return text;
}

TEST(Buffer, GivesBackWhatItTookInOrder) {
  Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  buffer.append("hello ");
  const std::vector<std::uint8_t> bytes{'w', 'o', 'r', 'l', 'd'};
  buffer.append(bytes);
  EXPECT_EQ(buffer.size(), 11U);
  EXPECT_EQ(buffer.toString(), "hello world");

  std::array<std::uint8_t, 5> first{};
  buffer.read(first);
  EXPECT_EQ(std::string(first.begin(), first.end()), "hello");
  buffer.drain(1);
  EXPECT_EQ(buffer.linearize(), "world");
  buffer.drain(100);
  EXPECT_TRUE(buffer.empty());
}

TEST(Buffer, ThatNeverHeldAByteAllocatesNothing) {
  std::vector<Buffer> buffers;
  buffers.reserve(1000);
  const std::size_t before = allocatedBytes();
  for (int i = 0; i < 1000; ++i) {
    Buffer& buffer = buffers.emplace_back();
    buffer.append("");
    buffer.drain(5);
    EXPECT_TRUE(buffer.front().empty());
    EXPECT_EQ(buffer.linearize(), "");
    EXPECT_EQ(buffer.toString(), "");
  }
  EXPECT_EQ(allocatedBytes(), before);
}

TEST(Buffer, IsTheSameQueueOfBytesSmallOrLarge) {
  for (const std::size_t size : {1, 55, 56, 57, 200}) {
    const std::string text = pattern(size);
    Buffer buffer;
    for (const char c : text) {
      buffer.append(std::string_view(&c, 1));
    }
    Buffer copy;
    buffer.copyTo(copy);
    EXPECT_EQ(copy.toString(), text);
    Buffer moved(std::move(copy));
    EXPECT_EQ(moved.linearize(), text);
    Buffer behind;
    behind.append("ab");
    moved.moveTo(behind, size - 1);
    EXPECT_EQ(behind.toString(), "ab" + text.substr(0, size - 1));
    EXPECT_EQ(moved.toString(), text.substr(size - 1));
    buffer.drain(1);
    std::string rest(size - 1, '\0');
    buffer.read({reinterpret_cast<std::uint8_t*>(rest.data()), rest.size()});
    EXPECT_EQ(rest, text.substr(1));
    EXPECT_TRUE(buffer.empty());
  }
}

TEST(Buffer, AllocatesNothingForAFewBytes) {
  const std::size_t before = allocatedBytes();
  Buffer buffer;
  buffer.append("ok\n");
  Buffer other;
  other.append(buffer);
  EXPECT_EQ(other.linearize(), "ok\n");
  EXPECT_EQ(allocatedBytes(), before);
}

TEST(Buffer, TakesAString) {
  for (const std::size_t size : {0, 1, 2047, 2048, 100'000}) {
    Buffer buffer;
    buffer.append("<");
    buffer.take(pattern(size));
    buffer.append(">");
    EXPECT_EQ(buffer.toString(), "<" + pattern(size) + ">");
  }
}

TEST(Buffer, TakesALongStringWithoutCopyingIt) {
  std::string text = pattern(100'000);
  const char* at = text.data();
  Buffer buffer;
  buffer.take(std::move(text));
  EXPECT_EQ(reinterpret_cast<const char*>(buffer.front().data()), at);
}

TEST(Buffer, FreesItsMemoryWhenDrained) {
  Buffer buffer;
  const std::size_t before = allocatedBytes();
  buffer.append(pattern(1 << 20));
  EXPECT_GE(allocatedBytes(), before + (1 << 20));
  buffer.drain(1 << 20);
  EXPECT_LT(allocatedBytes(), before + 1024);
}

TEST(Buffer, MovesPartsAcrossPieceBoundaries) {
  const std::string text = pattern(100'000);
  for (const std::size_t part : {1UL, 100UL, 2047UL, 2048UL, 5000UL, 16'384UL, 99'999UL}) {
    Buffer from;
    for (std::size_t at = 0; at < text.size(); at += 9000) {
      from.append(std::string_view(text).substr(at, 9000));
    }
    Buffer to;
    std::string moved;
    while (!from.empty()) {
      const std::size_t before = to.size();
      from.moveTo(to, part);
      EXPECT_EQ(to.size() - before, std::min(part, text.size() - before));
    }
    EXPECT_TRUE(to.toString() == text) << part;
  }
}

TEST(Buffer, AppendingAnotherEmptiesIt) {
  Buffer first;
  Buffer second;
  first.append("one");
  second.append("two");
  first.append(second);
  EXPECT_EQ(first.toString(), "onetwo");
  EXPECT_TRUE(second.empty());
  second.append("again");
  EXPECT_EQ(second.toString(), "again");
}

TEST(Buffer, MovesLargePiecesWithoutCopying) {
  Buffer from;
  from.append(pattern(64 * 1024));
  const std::uint8_t* where = from.front().data();
  Buffer to;
  from.moveTo(to, from.size());
  EXPECT_EQ(to.front().data(), where);
}

// TRAPS: a window of one-byte DATA frames must not cost a kilobyte for each.
TEST(Buffer, CostsLittleForAStreamOfTinyFragments) {
  constexpr std::size_t kFragments = 64 * 1024;
  const std::size_t before = allocatedBytes();
  Buffer gathered;
  for (std::size_t i = 0; i < kFragments; ++i) {
    Buffer fragment;
    fragment.append("x");
    fragment.moveTo(gathered, 1);
  }
  EXPECT_EQ(gathered.size(), kFragments);
  EXPECT_LT(allocatedBytes() - before, 256U * 1024);
  Buffer further;
  further.append(gathered);
  EXPECT_LT(allocatedBytes() - before, 256U * 1024);
}

TEST(Buffer, CopiesGoTheirOwnWays) {
  const std::string text = pattern(50'000);
  Buffer original;
  original.append(std::string_view(text).substr(0, 20'000));
  original.append(std::string_view(text).substr(20'000));
  Buffer copy;
  copy.append("then ");
  original.copyTo(copy);
  EXPECT_TRUE(original.toString() == text);
  original.append("more");
  copy.append("else");
  EXPECT_TRUE(original.toString() == text + "more");
  original.clear();
  EXPECT_TRUE(copy.toString() == "then " + text + "else");
  Buffer empty;
  empty.copyTo(copy);
  EXPECT_EQ(copy.size(), text.size() + 9);
}

TEST(Buffer, CopiesOfMuchCostLittle) {
  Buffer original;
  for (int i = 0; i < 64; ++i) {
    original.append(pattern(16 * 1024));
  }
  const std::size_t before = allocatedBytes();
  Buffer copy;
  original.copyTo(copy);
  EXPECT_LT(allocatedBytes() - before, 16U * 1024);
  EXPECT_EQ(copy.size(), original.size());
}

TEST(Buffer, IsCutAnywhereWithoutCopying) {
  Buffer from;
  from.append(pattern(64 * 1024));
  const std::uint8_t* where = from.front().data();
  Buffer to;
  to.append("a frame's header");
  from.moveTo(to, 10'000);
  EXPECT_EQ(from.front().data(), where + 10'000);
  to.drain(16);
  EXPECT_EQ(to.front().data(), where);
  // The block lives as long as somebody has a piece of it.
  from.clear();
  EXPECT_TRUE(to.toString() == pattern(64 * 1024).substr(0, 10'000));
}

// Several buffers, bytes that come, go and are copied between them at random, beside strings.
TEST(Buffer, IsAStringWhateverIsDoneToIt) {
  for (const unsigned seed : {1U, 2U, 3U}) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
    constexpr std::array<std::size_t, 8> kSizes{1, 9, 57, 300, 2047, 2048, 16'384, 40'000};
    std::array<Buffer, 3> buffers;
    std::array<std::string, 3> strings;
    for (int step = 0; step < 2000; ++step) {
      const std::size_t a = below(3);
      const std::size_t b = (a + 1 + below(2)) % 3;
      const std::size_t size = kSizes[below(kSizes.size())] - below(2);
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
      switch (below(strings[a].size() > 100'000 ? 5 : 8)) {
        case 0:
          buffers[a].drain(size);
          strings[a].erase(0, size);
          break;
        case 1:
          buffers[a].clear();
          strings[a].clear();
          break;
        case 2: {
          buffers[a].moveTo(buffers[b], size);
          strings[b] += strings[a].substr(0, size);
          strings[a].erase(0, size);
          break;
        }
        case 3: {
          std::string read(std::min(size, strings[a].size()), '\0');
          buffers[a].read({reinterpret_cast<std::uint8_t*>(read.data()), read.size()});
          ASSERT_TRUE(read == strings[a].substr(0, size));
          strings[a].erase(0, size);
          break;
        }
        case 4:
          ASSERT_TRUE(buffers[a].linearize() == strings[a]);
          break;
        case 5: {
          std::string text = pattern(size);
          std::ranges::rotate(text, text.begin() + static_cast<std::ptrdiff_t>(below(size + 1)));
          strings[a] += text;
          if (below(2) == 0) {
            buffers[a].append(text);
          } else {
            buffers[a].take(std::move(text));
          }
          break;
        }
        case 6:
          buffers[b].append(buffers[a]);
          strings[b] += std::exchange(strings[a], {});
          break;
        default:
          buffers[a].copyTo(buffers[b]);
          strings[b] += strings[a];
      }
      for (std::size_t i = 0; i < buffers.size(); ++i) {
        ASSERT_EQ(buffers[i].size(), strings[i].size());
        ASSERT_TRUE(buffers[i].toString() == strings[i]);
      }
    }
  }
}

TEST(Buffer, DescribesItsPiecesForOneWrite) {
  const std::string text = pattern(40'000);
  Buffer buffer;
  EXPECT_EQ(buffer.pieces(nullptr, 0), 0);
  for (std::size_t at = 0; at < text.size(); at += 10'000) {
    Buffer part;
    part.append(std::string_view(text).substr(at, 10'000));
    buffer.append(part);
  }
  std::array<iovec, 16> pieces;
  const int count = buffer.pieces(pieces.data(), 16);
  EXPECT_EQ(count, 4);
  std::string joined;
  for (int i = 0; i < count; ++i) {
    const iovec& piece = pieces[static_cast<std::size_t>(i)];
    joined.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  EXPECT_TRUE(joined == text);
  EXPECT_EQ(buffer.pieces(pieces.data(), 2), 2);
}

TEST(Buffer, MovesAsAValue) {
  Buffer first;
  first.append("kept");
  Buffer second(std::move(first));
  EXPECT_EQ(second.toString(), "kept");
  Buffer third;
  third.append("dropped");
  third = std::move(second);
  EXPECT_EQ(third.toString(), "kept");
}

}  // namespace
}  // namespace penstock::net
