#pragma once

#include <vector>

#include "net/address.h"
#include "net/event_loop.h"
#include "proxy/scaling/replica_provider.h"
#include "proxy/scaling/replica_set.h"

namespace penstock::proxy {

// Replicas that somebody else runs, at addresses that the configuration lists.
class StaticProvider final : public ReplicaProvider {
 public:
  // The loop and health outlive this.
  StaticProvider(net::EventLoop& loop, ReplicaHealth& health, std::vector<net::Address> addresses);

  void start() override;
  void stop(std::move_only_function<void()> stopped) override;
  // Another list. After start().
  void setAddresses(const std::vector<net::Address>& addresses) { replicas_.set(addresses); }

 private:
  net::EventLoop& loop_;
  const std::vector<net::Address> addresses_;
  ReplicaSet replicas_;
};

}  // namespace penstock::proxy
