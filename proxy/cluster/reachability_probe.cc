#include "proxy/cluster/reachability_probe.h"

#include <algorithm>
#include <utility>

namespace penstock::proxy {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(25);
constexpr Duration kLongestPause = std::chrono::seconds(1);

}  // namespace

ReachabilityProbe::ReachabilityProbe(net::EventLoop& loop, const net::Address& address,
                                     const net::TlsContext* tls, Duration connect_timeout,
                                     std::move_only_function<void()> reachable)
    : loop_(loop),
      address_(address),
      tls_(tls),
      connect_timeout_(connect_timeout),
      reachable_(std::move(reachable)),
      pause_(kFirstPause),
      timer_(loop, [this] { tryNow(); }) {
  timer_.armAfter(pause_);
}

ReachabilityProbe::~ReachabilityProbe() {
  drop();
}

void ReachabilityProbe::tryNow() {
  connection_ = net::Connection::connect(loop_, address_, tls_,
                                         Deadline::after(loop_.now(), connect_timeout_), {});
  connection_->start(*this);
}

void ReachabilityProbe::onConnected() {
  drop();
  auto reachable = std::exchange(reachable_, nullptr);
  reachable();
}

void ReachabilityProbe::onClosed(net::CloseReason) {
  drop();
  pause_ = std::min(2 * pause_, kLongestPause);
  timer_.armAfter(pause_);
}

void ReachabilityProbe::drop() {
  if (connection_ != nullptr) {
    connection_->close();
    loop_.destroyLater(std::move(connection_));
  }
}

}  // namespace penstock::proxy
