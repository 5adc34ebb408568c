#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "proxy/scaling/desired_replicas.h"

namespace penstock::proxy {

// Starts and stops replicas as it is told to. Main loop only.
class ReplicaScaler {
 public:
  virtual ~ReplicaScaler() = default;
  // How many there should be. What is missing is started now. Of too many those go that are not
  // ready, then the idle, then the least busy; they get nothing new, finish what they have, and are
  // stopped then.
  virtual void scaleTo(std::uint32_t replicas) = 0;
  // One that crashed and will be started again counts as starting.
  virtual Fleet fleet() const = 0;
};

// Where the replicas of one cluster come from. It tells ReplicaHealth which there are. Main loop
// only.
class ReplicaProvider {
 public:
  virtual ~ReplicaProvider() = default;
  virtual void start() = 0;
  // Takes down what it started itself; stopped is called once, later than from here, when that is
  // done.
  virtual void stop(std::move_only_function<void()> stopped) = 0;
  // Null where somebody else decides how many replicas there are.
  virtual ReplicaScaler* scaler() { return nullptr; }
  // Why replicas that there should be are not there, for the operator; empty if nothing is wrong.
  virtual std::string trouble() const { return {}; }
};

}  // namespace penstock::proxy
