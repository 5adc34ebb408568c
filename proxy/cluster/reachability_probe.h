#pragma once

#include <functional>
#include <memory>
#include <span>

#include "net/address.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/tls.h"

namespace penstock::proxy {

// Tries to connect to an address, over TLS to its end if that is what is spoken there, again and
// again with longer pauses up to a second, until it succeeds once. Loop thread only.
class ReachabilityProbe final : private net::ConnectionHandler {
 public:
  // tls may be null; it outlives the probe. reachable is called once and may destroy the probe.
  ReachabilityProbe(net::EventLoop& loop, const net::Address& address, const net::TlsContext* tls,
                    Duration connect_timeout, std::move_only_function<void()> reachable);
  ~ReachabilityProbe() override;

 private:
  void tryNow();
  void onConnected() override;
  void onBytes(std::span<const std::uint8_t>) override {}
  void onFillOutput(net::Buffer&) override {}
  void onPeerClosed() override {}
  void onClosed(net::CloseReason) override;
  void drop();

  net::EventLoop& loop_;
  const net::Address address_;
  const net::TlsContext* const tls_;
  const Duration connect_timeout_;
  std::move_only_function<void()> reachable_;
  Duration pause_;
  net::Timer timer_;
  std::unique_ptr<net::Connection> connection_;
};

}  // namespace penstock::proxy
