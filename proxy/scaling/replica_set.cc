#include "proxy/scaling/replica_set.h"

#include <algorithm>

namespace penstock::proxy {

ReplicaSet::Change ReplicaSet::set(const std::vector<net::Address>& addresses) {
  Change change;
  std::vector<std::string> wanted;
  // Who joins does so first, so that a change of all of them leaves no moment without any.
  for (const net::Address& address : addresses) {
    wanted.push_back(address.toString());
    if (std::ranges::find(known_, wanted.back(), &Known::address) == known_.end()) {
      known_.push_back({.address = wanted.back(), .id = health_.add(address)});
      ++change.joined;
    }
  }
  change.left = std::erase_if(known_, [&](const Known& known) {
    const bool gone = std::ranges::find(wanted, known.address) == wanted.end();
    if (gone) {
      health_.remove(known.id);
    }
    return gone;
  });
  return change;
}

}  // namespace penstock::proxy
