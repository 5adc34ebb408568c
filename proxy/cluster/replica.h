#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "net/address.h"

namespace penstock::proxy {

// One incarnation of a replica; never used twice in a queue.
using ReplicaId = std::uint64_t;

// What a replica's answers say of it, the first time that they say "sidecar" for good.
enum class ReplicaKind : std::uint8_t {
  kUnknown,  // no answer yet
  kPlain,    // an HTTP server like any other
  kSidecar,  // answered with x-penstock-sidecar: requests can be cancelled by POST /penstock/cancel
};

// One sidecar (or any HTTP server) at one address. The address and id never change; the counters
// are atomics that the workers write. Owned by the slot table, pinned by each of its slots.
struct Replica {
  Replica(ReplicaId replica_id, const net::Address& replica_address)
      : id(replica_id), address(replica_address), name(replica_address.toString()) {}

  bool isSidecar() const { return kind.load(std::memory_order_relaxed) == ReplicaKind::kSidecar; }

  const ReplicaId id;
  const net::Address address;
  const std::string name;  // the address as text
  std::atomic<ReplicaKind> kind{ReplicaKind::kUnknown};
  // It could not be connected to, and gets nothing until it can.
  std::atomic<bool> unreachable{false};
  // 502s and broken connections since the last answer.
  std::atomic<std::uint32_t> consecutive_failures{0};
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> succeeded{0};  // answered below 500
  std::atomic<std::uint64_t> failed{0};
  // It refused a request, and nothing newer says that it would take one. Written by the slot table.
  std::atomic<bool> refusing{false};
  // Until then its stream of reports says enough; after that its answers are asked for one each,
  // and from in_band_due on the next is read.
  std::atomic<TimePoint> stream_holds_until{TimePoint::min()};
  std::atomic<TimePoint> in_band_due{TimePoint::min()};
};

}  // namespace penstock::proxy
