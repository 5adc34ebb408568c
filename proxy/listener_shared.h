#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "net/address.h"
#include "net/http/limits.h"
#include "net/tls.h"
#include "proxy/config/config.h"
#include "proxy/http/route_table.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// What all workers share of one listener: its routes, certificate, limits, and its count of
// connections. Thread-safe.
class ListenerShared {
 public:
  // An error if a certificate or key cannot be used. The clock outlives it.
  static Result<std::unique_ptr<ListenerShared>> make(const Config& config,
                                                      const ListenerConfig& listener,
                                                      std::uint32_t max_connections,
                                                      const Clock& clock, Metrics& metrics);

  const ListenerConfig& config() const { return config_; }
  const RouteTable& routes() const { return routes_; }
  net::TlsContext* tls() const { return tls_.get(); }
  const http::Limits& limits() const { return limits_; }

  // Whether one more connection is welcome; then it is counted until release().
  bool tryAddConnection();
  void releaseConnection();
  // A request or a connection was refused before it reached a cluster.
  void countRejected(std::string_view reason);
  // A client's TLS handshake failed: counts it, and logs one a second, with how many were not
  // logged since the last.
  void noteFailedHandshake(const net::Address& client, std::string_view why, TimePoint now,
                           Logger& log);

 private:
  ListenerShared(const Config& config, const ListenerConfig& listener,
                 std::uint32_t max_connections, Metrics& metrics);

  const ListenerConfig config_;
  const RouteTable routes_;
  std::unique_ptr<net::TlsContext> tls_;
  http::Limits limits_;
  const std::int64_t max_connections_;
  std::atomic<std::int64_t> connections_{0};
  std::atomic<TimePoint> next_handshake_line_{TimePoint::min()};
  std::atomic<std::int64_t> handshakes_not_logged_{0};
  Metrics& metrics_;
  Counter accepted_;
};

}  // namespace penstock::proxy
