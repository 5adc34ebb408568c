#pragma once

#include <cstdint>
#include <vector>

#include "simulator/simulation.h"

namespace penstock::simulator {

// What an outcome comes to.
struct Figures {
  double replica_seconds = 0;
  double wait_p50 = 0;  // seconds
  double wait_p95 = 0;
  double wait_p99 = 0;
  double wait_max = 0;
  double somebody_waits_share = 0;      // of the time
  double idle_while_waiting_share = 0;  // of the time
  std::uint64_t reversals = 0;
  std::uint32_t peak_replicas = 0;
  std::uint64_t requests = 0;
};
Figures figuresOf(Outcome& outcome, Duration length);

// How often a number turned round by 2× or more within ten minutes: it had risen to twice a trough
// or more and fell to half of that peak or less (or the other way round), all in ten minutes. A
// zero counts as a half, so that 0 → 1 → 0 is such a turn.
std::uint64_t reversals(const std::vector<Step>& steps);

}  // namespace penstock::simulator
