#include "proxy/scaling/replica_set.h"

#include <algorithm>

namespace penstock::proxy {

void ReplicaSet::set(const std::vector<net::Address>& addresses) {
  std::vector<std::string> wanted;
  // Who joins does so first, so that a change of all of them leaves no moment without any.
  for (const net::Address& address : addresses) {
    wanted.push_back(address.toString());
    if (std::ranges::find(known_, wanted.back(), &Known::address) == known_.end()) {
      known_.push_back({.address = wanted.back(), .id = health_.add(address)});
    }
  }
  std::erase_if(known_, [&](const Known& known) {
    const bool gone = std::ranges::find(wanted, known.address) == wanted.end();
    if (gone) {
      health_.remove(known.id);
    }
    return gone;
  });
}

}  // namespace penstock::proxy
