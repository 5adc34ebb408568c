#pragma once

#include <cstdint>

#include "simulator/load.h"

namespace penstock::simulator {

enum class Shape : std::uint8_t {
  kPoisson,   // high all the time
  kStep,      // low, then high from a period on
  kRamp,      // from low to high over the whole length
  kSawtooth,  // from low to high in each period, and back at once
  kOnOff,     // high for the first half of each period, low for the second
};

struct SyntheticLoad {
  Shape shape = Shape::kPoisson;
  // How many requests are here at a time if nobody has to wait. Open loop: the mean, with arrivals
  // at random (Poisson). Closed loop: so many users.
  double low = 0;
  double high = 10;
  Duration period = std::chrono::minutes(5);
  Duration length = std::chrono::hours(1);
  ServiceTime service{};
  bool closed_loop = false;
  std::uint64_t seed = 1;
};

Load generate(const SyntheticLoad& load);

}  // namespace penstock::simulator
