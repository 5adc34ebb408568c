#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "net/address.h"
#include "proxy/cluster/replica_health.h"

namespace penstock::proxy {

// Replicas that somebody else runs, known by their addresses. Loop thread only.
class ReplicaSet {
 public:
  // health outlives this.
  explicit ReplicaSet(ReplicaHealth& health) : health_(health) {}

  struct Change {
    std::size_t joined = 0;
    std::size_t left = 0;
  };
  // Who is new joins, as a new incarnation also where there was one before; who is missing finishes
  // what it has; the others notice nothing. An address that is there twice counts once.
  Change set(const std::vector<net::Address>& addresses);
  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    std::string address;
    ReplicaId id;
  };

  ReplicaHealth& health_;
  std::vector<Known> known_;
};

}  // namespace penstock::proxy
