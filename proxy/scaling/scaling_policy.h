#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "proxy/scaling/desired_replicas.h"

namespace penstock::proxy {

// What decided the number.
enum class ScalingReason : std::uint8_t {
  kDemand,          // the mean demand over the window
  kBurst,           // the short window or the line asked for more than that
  kFromZero,        // somebody waits and there is no replica
  kAfterBurst,      // kept: the last burst is less than a window ago
  kScaleDownDelay,  // kept: more were wanted within scale_down_delay
  kScaleDownRate,   // not fewer yet: max_scale_down_rate
  kWaiting,         // kept: somebody waits
  kMinReplicas,
  kMaxReplicas,
};
// "demand", "burst", "after_burst", …
std::string_view toString(ScalingReason reason);

struct ScalingDecision {
  std::uint32_t replicas = 0;  // that there should be, those that start included
  ScalingReason reason = ScalingReason::kDemand;
  DesiredReplicas desired{};
};

// How many replicas there should be, from the load, one decision after the other: desiredReplicas,
// then what keeps a fleet from flapping. A burst is followed at once and nothing is taken away
// until a window after its last moment. Otherwise the highest number wanted within scale_down_delay
// holds; from there at most max_scale_down_rate of the fleet goes per delay (or per window, if that
// is longer), but one may always go, and none while somebody waits. The last one goes only after a
// window without any demand.
// No clock and no I/O: the simulator runs this class.
class ScalingPolicy {
 public:
  // fleet: as it is at the sample's time. Samples come in the order of time.
  ScalingDecision decide(const LoadSample& sample, const ScalingSettings& settings,
                         const Fleet& fleet);

 private:
  struct At {
    TimePoint time;
    std::uint32_t replicas;
  };
  // The greatest value of the last length: values that a later, greater one hides are dropped.
  class Highest {
   public:
    void add(TimePoint now, std::uint32_t replicas, Duration length);
    std::uint32_t value() const { return values_.front().replicas; }

   private:
    std::deque<At> values_;
  };

  LoadWindow load_;
  Highest wanted_;
  Highest decided_;
  std::optional<TimePoint> last_burst_;
};

}  // namespace penstock::proxy
