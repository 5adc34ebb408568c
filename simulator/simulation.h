#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "proxy/scaling/desired_replicas.h"
#include "simulator/load.h"
#include "simulator/policy.h"

namespace penstock::simulator {

// How long a replica takes from its start until it is ready: any time between the two.
struct StartUp {
  Duration shortest = std::chrono::seconds(10);
  Duration longest = std::chrono::seconds(10);
};

struct Scenario {
  Load load;
  proxy::ScalingSettings settings;
  StartUp start_up;
  std::uint32_t initial_replicas = 0;  // ready at the start
  std::uint64_t seed = 1;              // of start-up and users' service times
};

// The cluster at one moment; one row a second (fewer for very long loads).
struct Moment {
  Duration at;
  double demand = 0;  // in flight or waiting, mean since the row before
  std::uint64_t waiting = 0;
  std::uint64_t in_flight = 0;
  std::uint32_t ready = 0;
  std::uint32_t starting = 0;
  std::uint32_t draining = 0;
  std::uint32_t desired = 0;
};

// What came of it. Times and integrals end with the load; waiting is known of every request.
struct Outcome {
  std::vector<float> waits_seconds;  // of each request served, in no order
  std::vector<Moment> timeline;
  std::vector<Step> desired;   // every change
  double replica_seconds = 0;  // those that start and drain included
  double somebody_waited_seconds = 0;
  double idle_while_waiting_seconds = 0;  // some slot was free and somebody waited
  std::uint64_t arrived = 0;
  std::uint32_t most_on_one_replica = 0;
  std::uint32_t peak_replicas = 0;
  std::uint64_t scale_downs = 0;  // ready replicas told to go
};

// Runs the load against the real admission queue in virtual time, with replicas that take as many
// requests as the concurrency target allows, until the load is over and every request is served.
// The queue has no bounds here: each policy serves the same requests. progress: called now and then
// with the share of the time that is simulated.
Outcome simulate(const Scenario& scenario, Policy& policy,
                 const std::function<void(double)>& progress = {});

}  // namespace penstock::simulator
