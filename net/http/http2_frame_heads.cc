#include "net/http/http2_frame_heads.h"

#include <algorithm>

namespace penstock::http {
namespace {

constexpr std::size_t kHeadBytes = 9;

}  // namespace

std::span<const std::uint8_t> Http2FrameHeads::pass(std::span<const std::uint8_t> bytes) {
  if (!kept_.empty()) {
    joined_ = std::move(kept_);
    kept_.clear();
    joined_.insert(joined_.end(), bytes.begin(), bytes.end());
    bytes = joined_;
  }
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (skip_ > 0) {
      const std::size_t count = std::min(skip_, bytes.size() - at);
      skip_ -= count;
      at += count;
      continue;
    }
    if (bytes.size() - at < kHeadBytes) {
      const auto cut = bytes.subspan(at);
      kept_.assign(cut.begin(), cut.end());
      return bytes.first(at);
    }
    skip_ = std::size_t{bytes[at]} << 16 | std::size_t{bytes[at + 1]} << 8 | bytes[at + 2];
    at += kHeadBytes;
  }
  return bytes;
}

}  // namespace penstock::http
