#pragma once

#include <string>
#include <vector>

#include "net/address.h"
#include "net/event_loop.h"
#include "proxy/cluster/replica_health.h"
#include "proxy/scaling/replica_provider.h"

namespace penstock::proxy {

// Replicas that somebody else runs, at addresses that the configuration lists.
class StaticProvider final : public ReplicaProvider {
 public:
  // The loop and health outlive this.
  StaticProvider(net::EventLoop& loop, ReplicaHealth& health, std::vector<net::Address> addresses);

  void start() override;
  void stop(std::move_only_function<void()> stopped) override;
  // Another list: who is new joins, who is missing finishes what it has, the others notice nothing.
  // After start().
  void setAddresses(const std::vector<net::Address>& addresses);

 private:
  struct Known {
    std::string address;
    ReplicaId id;
  };

  net::EventLoop& loop_;
  ReplicaHealth& health_;
  const std::vector<net::Address> addresses_;
  std::vector<Known> replicas_;
};

}  // namespace penstock::proxy
