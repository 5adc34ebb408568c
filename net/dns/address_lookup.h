#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/address.h"

namespace penstock::net {

// Where a name leads now.
struct FoundAddresses {
  // Each once, in order of their text; empty: there is no such name, or nothing behind it.
  std::vector<Address> addresses;
  Duration ttl{};  // the shortest of them; 0 if not known
};

// Finds addresses, again and again, one lookup at a time. Loop thread only.
class AddressLookup {
 public:
  using Done = std::move_only_function<void(Result<FoundAddresses>)>;

  virtual ~AddressLookup() = default;
  // done: once, later than from here, unless this is destroyed before. An error means that nobody
  // could say: not that there is nothing.
  virtual void start(Done done) = 0;
};

}  // namespace penstock::net
