#include "simulator/load.h"

#include <algorithm>

namespace penstock::simulator {

Duration ServiceTime::draw(std::mt19937_64& random) const {
  if (!exponential) {
    return mean;
  }
  const double seconds = std::chrono::duration<double>(mean).count();
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::exponential_distribution(1 / seconds)(random)));
}

std::vector<Step> unlimitedInFlight(const Load& load) {
  std::vector<Step> steps{{.from = Duration::zero(), .value = 0}};
  const auto setFrom = [&](Duration time, std::uint32_t value) {
    if (steps.back().from == time) {
      steps.back().value = value;
    } else if (steps.back().value != value) {
      steps.push_back({time, value});
    }
  };
  for (const Users& users : load.users) {
    setFrom(users.from, users.count);
  }
  std::vector<Duration> ends;
  ends.reserve(load.arrivals.size());
  for (const Arrival& arrival : load.arrivals) {
    ends.push_back(arrival.at + arrival.service);
  }
  std::ranges::sort(ends);
  auto end = ends.begin();
  std::uint32_t in_flight = 0;
  for (const Arrival& arrival : load.arrivals) {
    for (; *end <= arrival.at; ++end) {
      setFrom(*end, --in_flight);
    }
    setFrom(arrival.at, ++in_flight);
  }
  for (; end != ends.end(); ++end) {
    setFrom(*end, --in_flight);
  }
  return steps;
}

}  // namespace penstock::simulator
