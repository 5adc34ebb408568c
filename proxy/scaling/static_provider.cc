#include "proxy/scaling/static_provider.h"

#include <utility>

namespace penstock::proxy {

StaticProvider::StaticProvider(net::EventLoop& loop, ReplicaHealth& health,
                               std::vector<net::Address> addresses)
    : loop_(loop), health_(health), addresses_(std::move(addresses)) {}

void StaticProvider::start() {
  for (const net::Address& address : addresses_) {
    health_.add(address);
  }
}

void StaticProvider::stop(std::move_only_function<void()> stopped) {
  loop_.post(std::move(stopped));
}

}  // namespace penstock::proxy
