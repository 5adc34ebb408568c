#include "proxy/scaling/static_provider.h"

#include <utility>

namespace penstock::proxy {

StaticProvider::StaticProvider(net::EventLoop& loop, ReplicaHealth& health,
                               std::vector<net::Address> addresses)
    : loop_(loop), addresses_(std::move(addresses)), replicas_(health) {}

void StaticProvider::start() {
  replicas_.set(addresses_);
}

void StaticProvider::stop(std::move_only_function<void()> stopped) {
  loop_.post(std::move(stopped));
}

}  // namespace penstock::proxy
