#include "model_runtime/lane_idle.h"

#include <algorithm>

#include "base/check.h"

namespace penstock::runtime {

void LaneIdle::move(Position& request, Place to, TimePoint at) {
  if (request.place == to) {
    return;
  }
  std::lock_guard lock(mutex_);
  at = std::max(at, request.since);
  const Move move{.at = at, .from = request.place, .to = to};
  request = {.place = to, .since = at};
  // Nearly always at the end. Behind those of the same time, so that a request's stay in order.
  auto behind = moves_.end();
  while (behind != moves_.begin() && std::prev(behind)->at > at) {
    --behind;
  }
  moves_.insert(behind, move);
  while (moves_.back().at - moves_.front().at > kLatest || moves_.size() > kMostMoves) {
    settled_.apply(moves_.front(), lanes_);
    moves_.pop_front();
  }
}

LaneIdle::Totals LaneIdle::totals(TimePoint now) const {
  std::lock_guard lock(mutex_);
  Sums sums = settled_;
  for (const Move& move : moves_) {
    sums.apply(move, lanes_);
  }
  sums.advance(now, lanes_);
  return sums.totals;
}

void LaneIdle::Sums::advance(TimePoint to, std::size_t lanes) {
  const Duration since = std::max(Duration::zero(), to - until);
  until = std::max(until, to);
  const auto requests = [this](Place place) { return in[static_cast<std::size_t>(place)]; };
  const auto add = [&](Reason reason, std::size_t idle) {
    totals[static_cast<std::size_t>(reason)] += since * static_cast<Duration::rep>(idle);
  };
  std::size_t idle = lanes - std::min(lanes, requests(Place::kPredict));
  const std::size_t hand_over = std::min(idle, requests(Place::kReady));
  idle -= hand_over;
  const std::size_t preprocess = std::min(idle, requests(Place::kPreprocess));
  add(Reason::kHandOver, hand_over);
  add(Reason::kPreprocess, preprocess);
  add(Reason::kNoRequest, idle - preprocess);
}

void LaneIdle::Sums::apply(const Move& move, std::size_t lanes) {
  advance(move.at, lanes);
  if (move.from != Place::kNowhere) {
    std::size_t& left = in[static_cast<std::size_t>(move.from)];
    PENSTOCK_CHECK(left > 0, "a request leaves a place that it is in");
    --left;
  }
  if (move.to != Place::kNowhere) {
    ++in[static_cast<std::size_t>(move.to)];
  }
}

}  // namespace penstock::runtime
