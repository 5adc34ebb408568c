#pragma once

#include <cstdint>

#include "base/clock.h"

namespace penstock::proxy {

// How fast slots come free while somebody waits for one, in the current window and the one before.
// A window is over when it is both long and full enough to tell something, so that what was long
// ago is forgotten and a few slots are not taken for a rate. Time without a queue does not count. A
// value; time is passed in.
class DrainRate {
 public:
  // Somebody waited during this time.
  void waited(Duration time) { now_.waited += time; }
  // A slot came free while somebody waited.
  void freed();
  // How long until one more than waiting requests would be served, if somebody has also waited
  // during unaccounted: 1 s to 1 h. While nothing has come free: at least as long again.
  Duration estimatedWait(std::uint64_t waiting, Duration unaccounted) const;

 private:
  struct Window {
    std::uint64_t freed = 0;
    Duration waited{};
  };
  Window now_;
  Window before_;
};

}  // namespace penstock::proxy
