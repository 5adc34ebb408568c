#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/scaling/desired_replicas.h"
#include "proxy/scaling/load_window.h"

namespace penstock::simulator {

// Decides how many replicas there should be. The simulation asks at the times that a policy names.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view name() const = 0;
  // When to be asked next; later than now.
  virtual TimePoint nextAfter(TimePoint now) const = 0;
  // How many there should be, those that start included. fleet: as it is at the sample's time.
  virtual std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) = 0;
  // Asked as soon as somebody waits and there is no fleet. Every autoscaler has some way to wake.
  virtual std::uint32_t wake(const proxy::LoadSample& sample, const proxy::Fleet& fleet) {
    static_cast<void>(sample);
    static_cast<void>(fleet);
    return 1;
  }
};

}  // namespace penstock::simulator
