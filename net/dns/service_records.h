#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace penstock::net {

// Where a service is offered: the targets of SRV records. Weights are not used: how much a replica
// gets is its concurrency target's to say. A value.
struct ServiceRecords {
  struct Target {
    std::string host;  // a whole name: no search domain is to be put behind it
    std::uint16_t port;
    std::uint16_t priority = 0;
    bool operator==(const Target&) const = default;
  };
  std::vector<Target> targets;  // the best priority first; each once; none: it is not offered
  Duration ttl{};               // the shortest of the answer
  bool cut = false;             // there were more than so many

  // Of a DNS message; of more than max targets the last in order are left out.
  static Result<ServiceRecords> parse(std::span<const unsigned char> message, std::size_t max);
};

}  // namespace penstock::net
