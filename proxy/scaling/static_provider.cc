#include "proxy/scaling/static_provider.h"

#include <algorithm>
#include <utility>

namespace penstock::proxy {

StaticProvider::StaticProvider(net::EventLoop& loop, ReplicaHealth& health,
                               std::vector<net::Address> addresses)
    : loop_(loop), health_(health), addresses_(std::move(addresses)) {}

void StaticProvider::start() {
  setAddresses(addresses_);
}

void StaticProvider::setAddresses(const std::vector<net::Address>& addresses) {
  std::vector<std::string> wanted;
  // Who joins does so first, so that a change of all of them leaves no moment without any.
  for (const net::Address& address : addresses) {
    wanted.push_back(address.toString());
    if (std::ranges::find(replicas_, wanted.back(), &Known::address) == replicas_.end()) {
      replicas_.push_back({.address = wanted.back(), .id = health_.add(address)});
    }
  }
  std::erase_if(replicas_, [&](const Known& known) {
    const bool gone = std::ranges::find(wanted, known.address) == wanted.end();
    if (gone) {
      health_.remove(known.id);
    }
    return gone;
  });
}

void StaticProvider::stop(std::move_only_function<void()> stopped) {
  loop_.post(std::move(stopped));
}

}  // namespace penstock::proxy
