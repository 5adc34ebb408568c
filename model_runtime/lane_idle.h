#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

#include "base/clock.h"

namespace penstock::runtime {

// Why lanes stood idle: the time of every lane that is not in predict, put down to what it waited
// for. An idle lane waits for a request that is ready, if there is one for it; else for one in
// preprocess, if there is one for it; else nobody has sent it anything. So at any time
// lanes × time = busy + the three together.
//
// What happens elsewhere, in another process or on a device, is heard of late: a request may be
// moved at a time that is past, up to kLatest. Thread-safe.
class LaneIdle {
 public:
  enum class Reason : std::uint8_t { kNoRequest, kPreprocess, kHandOver };
  static constexpr std::size_t kReasons = 3;
  // Lane-time, by reason.
  using Totals = std::array<Duration, kReasons>;
  // Where a request is, as far as lanes are concerned.
  enum class Place : std::uint8_t { kNowhere, kPreprocess, kReady, kPredict };
  // A request, for this class.
  struct Position {
    Place place = Place::kNowhere;
    TimePoint since{};
  };
  static constexpr Duration kLatest = std::chrono::seconds(1);

  LaneIdle(std::size_t lanes, TimePoint now) : lanes_(lanes) { settled_.until = now; }

  // The request goes to that place, at a time that is not after now; one before the request's last
  // move counts as that. Of a request one call at a time.
  void move(Position& request, Place to, TimePoint at);
  // Since the beginning, until now.
  Totals totals(TimePoint now) const;

 private:
  static constexpr std::size_t kMostMoves = 4096;
  struct Move {
    TimePoint at;
    Place from;
    Place to;
  };
  // All that there is to know at a time.
  struct Sums {
    std::array<std::size_t, 4> in{};  // requests, by place
    Totals totals{};
    TimePoint until{};

    void advance(TimePoint to, std::size_t lanes);
    void apply(const Move& move, std::size_t lanes);
  };

  const std::size_t lanes_;
  mutable std::mutex mutex_;  // guards the rest
  Sums settled_;              // nothing is moved before its time any more
  std::deque<Move> moves_;    // since then, in the order of their times
};

}  // namespace penstock::runtime
