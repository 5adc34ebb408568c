#include "net/http/http2_frame_heads.h"

#include <algorithm>
#include <utility>

#include <nghttp2/nghttp2.h>

namespace penstock::http {
namespace {

constexpr std::size_t kHeadBytes = 9;
constexpr std::size_t kMostPadding = 256;  // with its length

// A CONTINUATION that continues nothing is an error, which is not to wait for more.
bool leavesBlockOpen(std::span<const std::uint8_t> head, bool was_open) {
  const bool is_block = head[3] == NGHTTP2_HEADERS || head[3] == NGHTTP2_PUSH_PROMISE ||
                        (head[3] == NGHTTP2_CONTINUATION && was_open);
  return is_block && (head[4] & NGHTTP2_FLAG_END_HEADERS) == 0;
}

// DATA that is short and padded may have nothing in it.
bool isDataWithBytes(std::span<const std::uint8_t> head, std::size_t length) {
  const bool padded = (head[4] & NGHTTP2_FLAG_PADDED) != 0;
  return head[3] == NGHTTP2_DATA && length > (padded ? kMostPadding : 0);
}

}  // namespace

void Http2FrameHeads::look(std::span<const std::uint8_t> head) {
  const std::uint8_t type = head[3];
  const auto id = static_cast<std::int32_t>((head[5] & 0x7fU) << 24 | std::uint32_t{head[6]} << 16 |
                                            std::uint32_t{head[7]} << 8 | head[8]);
  const bool is_message = type == NGHTTP2_DATA || type == NGHTTP2_HEADERS;
  came_too_late_ = came_too_late_ || (is_message && ended_.has(id));
  if (type == NGHTTP2_RST_STREAM || (is_message && (head[4] & NGHTTP2_FLAG_END_STREAM) != 0)) {
    ended_.add(id);
  }
}

std::span<const std::uint8_t> Http2FrameHeads::pass(std::span<const std::uint8_t> bytes) {
  if (!kept_.empty()) {
    joined_ = std::exchange(kept_, {});
    joined_.insert(joined_.end(), bytes.begin(), bytes.end());
    bytes = joined_;
  }
  std::size_t at = 0;
  std::size_t keep = 0;       // from here on, should there be no more, ...
  std::size_t keep_skip = 0;  // ... with so many bytes of a payload first
  Counts kept_counts = counts_;
  while (true) {
    const std::size_t payload = std::min(skip_, bytes.size() - at);
    skip_ -= payload;
    at += payload;
    if (skip_ > 0) {
      return bytes;
    }
    if (!block_open_ || payload > 0) {
      keep_skip = block_open_ ? 1 : 0;
      keep = at - keep_skip;
      kept_counts = counts_;
    }
    if (bytes.size() - at < kHeadBytes) {
      break;
    }
    const auto head = bytes.subspan(at, kHeadBytes);
    skip_ = std::size_t{head[0]} << 16 | std::size_t{head[1]} << 8 | head[2];
    block_open_ = leavesBlockOpen(head, block_open_);
    look(head);
    if (head[3] == NGHTTP2_CONTINUATION) {
      too_many_continuations_ =
          too_many_continuations_ || ++counts_.continuations > max_continuations_;
    } else {
      counts_.continuations = 0;
      counts_.frames += isDataWithBytes(head, skip_) ? 0 : 1;
    }
    at += kHeadBytes;
  }
  // What is kept is read again.
  counts_ = kept_counts;
  skip_ = keep_skip;
  // It was open, or not, before what is kept.
  block_open_ = keep_skip > 0;
  kept_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(keep), bytes.end());
  return bytes.first(keep);
}

}  // namespace penstock::http
