#include "net/http/http2_flood_guard.h"

#include <algorithm>
#include <chrono>

namespace penstock::http {

bool TokenBucket::take(TimePoint now) {
  if (limit_.burst == 0) {
    return true;
  }
  giveBack(std::chrono::duration<double>(now - since_).count() * limit_.per_second);
  since_ = now;
  tokens_ -= 1;
  return tokens_ >= 0;
}

void TokenBucket::giveBack(double tokens) {
  tokens_ = std::min<double>(tokens_ + tokens, limit_.burst);
}

Http2FloodGuard::Http2FloodGuard(const Limits& limits, TimePoint now)
    : frames_(limits.frames, now),
      client_resets_(limits.client_resets, now),
      forced_resets_(limits.forced_resets, now) {}

void Http2FloodGuard::onFrame(TimePoint now) {
  take(frames_, now, ServerConnection::Flood::kFrames);
}

void Http2FloodGuard::onClientReset(TimePoint now) {
  take(client_resets_, now, ServerConnection::Flood::kClientResets);
}

void Http2FloodGuard::onForcedReset(TimePoint now) {
  take(forced_resets_, now, ServerConnection::Flood::kForcedResets);
}

void Http2FloodGuard::onDataReceived(std::size_t bytes) {
  frames_.giveBack(1 + static_cast<double>(bytes) / kBytesPerFrame);
}

void Http2FloodGuard::onDataSent(std::size_t bytes, bool all) {
  frames_.giveBack((all ? kPerWholeWrite : 0) + static_cast<double>(bytes) / kBytesPerFrame);
}

void Http2FloodGuard::take(TokenBucket& bucket, TimePoint now, ServerConnection::Flood flood) {
  if (!bucket.take(now) && !flood_) {
    flood_ = flood;
  }
}

}  // namespace penstock::http
