#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "base/clock.h"

// What comes to a simulated cluster. Times run from the start of the simulation.
namespace penstock::simulator {

struct Arrival {
  Duration at;
  Duration service;  // on a replica, without any waiting
};

struct ServiceTime {
  Duration mean = std::chrono::seconds(1);
  bool exponential = false;  // else always the mean

  Duration draw(std::mt19937_64& random) const;
};

// From a moment on, so many users that each have exactly one request here at all times.
struct Users {
  Duration from;
  std::uint32_t count;
};

// Either open loop (arrivals come whatever happens to those before) or closed loop (users).
struct Load {
  std::vector<Arrival> arrivals{};  // in the order of time
  std::vector<Users> users{};       // in the order of time
  ServiceTime service{};            // of the users' requests
  Duration length{};
};

// How many requests an unlimited fleet would have in flight, as steps; what the load really asks
// for.
struct Step {
  Duration from;
  std::uint32_t value;
};
std::vector<Step> unlimitedInFlight(const Load& load);

}  // namespace penstock::simulator
