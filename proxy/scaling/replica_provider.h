#pragma once

#include <functional>

namespace penstock::proxy {

// Where the replicas of one cluster come from. It tells ReplicaHealth which there are. Main loop
// only.
class ReplicaProvider {
 public:
  virtual ~ReplicaProvider() = default;
  virtual void start() = 0;
  // Takes down what it started itself; stopped is called once, later than from here, when that is
  // done.
  virtual void stop(std::move_only_function<void()> stopped) = 0;
};

}  // namespace penstock::proxy
