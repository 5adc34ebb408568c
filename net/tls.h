#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"

struct ssl_ctx_st;

namespace penstock::net {

class TicketKeys;

// TLS settings of a listener or of an upstream cluster, loaded once, used by many connections.
// Server: TLS ≥ 1.2, ECDHE+AEAD suites only, no renegotiation, no compression, no 0-RTT, session
// tickets whose keys rotate at least daily, ALPN "h2" then "http/1.1" (strict: an offer without
// either fails the handshake). Thread-safe once made.
class TlsContext {
 public:
  struct ServerOptions {
    std::string certificate_file;  // PEM chain
    std::string private_key_file;  // PEM
    std::string client_ca_file;  // empty: no client certificate is asked for; else one is required
  };
  struct ClientOptions {
    std::string ca_file;      // PEM; empty: the system's
    std::string server_name;  // SNI and the name verified; empty: the peer's IP address is verified
    bool offer_h2 = true;
    bool offer_http1 = true;
  };
  // The clock, by which ticket keys rotate, outlives the context.
  static Result<std::unique_ptr<TlsContext>> server(const ServerOptions& options,
                                                    const Clock& clock);
  static Result<std::unique_ptr<TlsContext>> client(const ClientOptions& options);
  ~TlsContext();

  ssl_ctx_st* native() const { return context_; }
  const std::string& serverName() const { return server_name_; }
  bool isServer() const { return ticket_keys_ != nullptr; }
  // A client that offers HTTP/2 alone fails with a server that does not choose it.
  bool requiresH2() const { return requires_h2_; }

 private:
  TlsContext();
  ssl_ctx_st* context_ = nullptr;
  std::string server_name_;
  bool requires_h2_ = false;
  std::unique_ptr<TicketKeys> ticket_keys_;  // null: a client
};

}  // namespace penstock::net
