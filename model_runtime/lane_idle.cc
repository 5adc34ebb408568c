#include "model_runtime/lane_idle.h"

#include <algorithm>

#include "base/check.h"

namespace penstock::runtime {

void LaneIdle::move(Place from, Place to, TimePoint now) {
  if (from == to) {
    return;
  }
  std::lock_guard lock(mutex_);
  total_ = totalUntil(now);
  until_ = std::max(until_, now);
  if (from != Place::kNowhere) {
    std::size_t& left = in_[static_cast<std::size_t>(from)];
    PENSTOCK_CHECK(left > 0, "a request leaves a place that it is in");
    --left;
  }
  if (to != Place::kNowhere) {
    ++in_[static_cast<std::size_t>(to)];
  }
}

Duration LaneIdle::total(Reason reason, TimePoint now) const {
  std::lock_guard lock(mutex_);
  return totalUntil(now)[static_cast<std::size_t>(reason)];
}

std::array<Duration, LaneIdle::kReasons> LaneIdle::totalUntil(TimePoint now) const {
  auto total = total_;
  const Duration since = std::max(Duration::zero(), now - until_);
  const auto in = [this](Place place) { return in_[static_cast<std::size_t>(place)]; };
  const auto add = [&](Reason reason, std::size_t lanes) {
    total[static_cast<std::size_t>(reason)] += since * static_cast<Duration::rep>(lanes);
  };
  std::size_t idle = lanes_ - std::min(lanes_, in(Place::kPredict));
  const std::size_t hand_over = std::min(idle, in(Place::kReady));
  idle -= hand_over;
  const std::size_t preprocess = std::min(idle, in(Place::kPreprocess));
  add(Reason::kHandOver, hand_over);
  add(Reason::kPreprocess, preprocess);
  add(Reason::kNoRequest, idle - preprocess);
  return total;
}

}  // namespace penstock::runtime
