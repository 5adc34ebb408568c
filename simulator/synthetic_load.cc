#include "simulator/synthetic_load.h"

#include <cmath>

namespace penstock::simulator {
namespace {

// The demand at a time.
double levelAt(const SyntheticLoad& load, Duration time) {
  const double in_period = inSeconds(time % load.period) / inSeconds(load.period);
  switch (load.shape) {
    case Shape::kPoisson:
      return load.high;
    case Shape::kStep:
      return time < load.period ? load.low : load.high;
    case Shape::kRamp:
      return load.low + (load.high - load.low) * inSeconds(time) / inSeconds(load.length);
    case Shape::kSawtooth:
      return load.low + (load.high - load.low) * in_period;
    case Shape::kOnOff:
      return in_period < 0.5 ? load.high : load.low;
  }
  return load.high;
}

// A Poisson process of the highest rate, of which so many are kept as the level at their time asks
// for.
std::vector<Arrival> openLoop(const SyntheticLoad& load) {
  std::mt19937_64 random(load.seed);
  const double highest = std::max(load.low, load.high);
  if (highest <= 0) {
    return {};
  }
  std::exponential_distribution gap(highest / inSeconds(load.service.mean));
  std::uniform_real_distribution<double> chance(0, highest);
  std::vector<Arrival> arrivals;
  for (Duration at = fromSeconds(gap(random)); at < load.length; at += fromSeconds(gap(random))) {
    if (chance(random) < levelAt(load, at)) {
      arrivals.push_back({.at = at, .service = load.service.draw(random)});
    }
  }
  return arrivals;
}

std::vector<Users> closedLoop(const SyntheticLoad& load) {
  std::vector<Users> users;
  for (Duration at{}; at < load.length; at += std::chrono::milliseconds(100)) {
    const auto count = static_cast<std::uint32_t>(std::lround(levelAt(load, at)));
    if (users.empty() || users.back().count != count) {
      users.push_back({.from = at, .count = count});
    }
  }
  return users;
}

}  // namespace

Load generate(const SyntheticLoad& load) {
  Load result{.service = load.service, .length = load.length};
  if (load.closed_loop) {
    result.users = closedLoop(load);
  } else {
    result.arrivals = openLoop(load);
  }
  return result;
}

}  // namespace penstock::simulator
