#include "proxy/cluster/drain_rate.h"

#include <algorithm>
#include <utility>

namespace penstock::proxy {
namespace {

constexpr Duration kWindowTime = std::chrono::seconds(10);
constexpr std::uint64_t kWindowSlots = 16;

}  // namespace

void DrainRate::freed() {
  ++now_.freed;
  if (now_.waited >= kWindowTime && now_.freed >= kWindowSlots) {
    before_ = std::exchange(now_, {});
  }
}

Duration DrainRate::estimatedWait(std::uint64_t waiting, Duration unaccounted) const {
  const std::chrono::duration<double> waited = now_.waited + before_.waited + unaccounted;
  const auto freed = static_cast<double>(now_.freed + before_.freed);
  const double wait = freed > 0     ? static_cast<double>(waiting) * waited.count() / freed
                      : waiting > 0 ? waited.count()
                                    : 0;
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::clamp(wait, 1.0, 3600.0)));
}

}  // namespace penstock::proxy
