#pragma once

#include <cstdint>

#include "base/clock.h"
#include "proxy/config/config.h"
#include "proxy/scaling/load_window.h"

namespace penstock::proxy {

struct ScalingSettings {
  std::uint32_t concurrency_target = 1;
  AutoscalingConfig autoscaling;
};

// The replicas of a cluster that count as capacity. Those that drain are neither.
struct Fleet {
  std::uint32_t ready = 0;
  std::uint32_t starting = 0;  // on their way
  // From a start until ready, as last measured, if it has been; more than 0.
  Duration start_up = std::chrono::seconds(10);

  std::uint32_t size() const { return ready + starting; }
};

// How many replicas the load asks for, before the bounds on scaling down.
struct DesiredReplicas {
  std::uint32_t lasting = 0;  // by the mean over the window
  std::uint32_t burst = 0;    // by the short window and by who is here now
  // The load is at least twice what the fleet was made for: burst is to be followed.
  bool bursting = false;
  double demand = 0;        // requests waiting or in flight, mean over the window
  double short_demand = 0;  // the same over the short window
};

// A tenth of the window, at least 1 s.
Duration shortWindow(Duration window);

// ceil(demand ÷ (concurrency_target × target_utilization)), not yet clamped to any bounds.
std::uint32_t replicasFor(double demand, const ScalingSettings& settings);

// Pure. lasting: replicasFor the mean demand over the window. bursting: the demand over the short
// window asks for at least twice fleet.size() replicas (compared as real numbers: a ceiling would
// call a single busy replica a burst) and is beyond what chance makes of the window's mean, or
// somebody waits and there is no fleet.
//
// A line that the fleet is going to serve is no reason for more. What comes needs rate × mean
// service time slots (Little's law). Where that is less than the slots that are ready, the line
// gets shorter by itself, and counts as the slots that serve it within one start-up time; while
// replicas start, it does not count at all. Only a line that does not get shorter counts in full.
DesiredReplicas desiredReplicas(const LoadWindow& load, const ScalingSettings& settings,
                                const Fleet& fleet);

}  // namespace penstock::proxy
