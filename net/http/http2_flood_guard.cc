#include "net/http/http2_flood_guard.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace penstock::http {

bool TokenBucket::take(TimePoint now, std::size_t count) {
  if (limit_.burst == 0) {
    return true;
  }
  giveBack(std::chrono::duration<double>(now - since_).count() * limit_.per_second);
  since_ = now;
  tokens_ -= static_cast<double>(count);
  return tokens_ >= 0;
}

void TokenBucket::giveBack(double tokens) {
  tokens_ = std::min<double>(tokens_ + tokens, limit_.burst);
}

Http2FloodGuard::Http2FloodGuard(const Limits& limits, TimePoint now)
    : frames_(limits.frames, now),
      client_resets_(limits.client_resets, now),
      forced_resets_(limits.forced_resets, now),
      header_bytes_(kHeaderBytes, now) {}

void Http2FloodGuard::onFrames(std::size_t count, TimePoint now) {
  if (!frames_.take(now, count)) {
    note(Flood::kFrames);
  }
}

void Http2FloodGuard::onClientReset(TimePoint now) {
  if (!client_resets_.take(now)) {
    note(Flood::kClientResets);
  }
}

void Http2FloodGuard::onForcedReset(TimePoint now) {
  if (!forced_resets_.take(now)) {
    note(Flood::kForcedResets);
  }
}

void Http2FloodGuard::chargeHeaders(TimePoint now) {
  if (decoded_ > 0 && !header_bytes_.take(now, std::exchange(decoded_, 0))) {
    note(Flood::kHeaderBytes);
  }
}

void Http2FloodGuard::onDataReceived(std::size_t bytes) {
  frames_.giveBack(static_cast<double>(bytes) / kBytesPerFrame);
}

void Http2FloodGuard::onDataSent(std::size_t bytes, bool all) {
  frames_.giveBack((all ? kPerWholeWrite : 0) + static_cast<double>(bytes) / kBytesPerFrame);
}

void Http2FloodGuard::note(Flood flood) {
  if (!flood_) {
    flood_ = flood;
  }
}

}  // namespace penstock::http
