#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "base/clock.h"
#include "base/result.h"

struct ssl_ctx_st;

namespace penstock::net {

class TicketKeys;

// TLS settings of a listener or of an upstream cluster, used by many connections. Its files are
// read when it is made, and when it is asked to; a connection keeps what it began with. Server: TLS
// ≥ 1.2, ECDHE+AEAD suites only, no renegotiation, no compression, no 0-RTT, session tickets whose
// keys rotate at least daily, ALPN "h2" then "http/1.1" (strict: an offer without either fails the
// handshake). Thread-safe once made.
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

  using Native = std::shared_ptr<ssl_ctx_st>;
  // For a connection that begins now.
  Native native() const;
  // Reads the files again. An error says which of them cannot be used and why; either way nothing
  // has changed yet.
  Result<Native> readAgain() const;
  // What was read is for connections from now on. Where clients need certificates, no conversation
  // from before is resumed, since its client may not be welcome any more.
  void use(Native read);
  // When a server's certificate ends, in seconds since 1970.
  std::int64_t certificateEnd() const;

  const std::string& serverName() const { return server_name_; }
  bool isServer() const { return ticket_keys_ != nullptr; }
  // A client that offers HTTP/2 alone fails with a server that does not choose it.
  bool requiresH2() const { return requires_h2_; }

 private:
  TlsContext();
  // Whose options are set.
  static Result<std::unique_ptr<TlsContext>> readFirst(std::unique_ptr<TlsContext> made);
  static Result<Native> read(const ServerOptions& options, TicketKeys& ticket_keys);
  static Result<Native> read(const ClientOptions& options);

  std::variant<ServerOptions, ClientOptions> options_;
  std::string server_name_;
  bool requires_h2_ = false;
  std::unique_ptr<TicketKeys> ticket_keys_;  // null: a client
  mutable std::mutex mutex_;
  Native native_;  // guarded by mutex_
};

}  // namespace penstock::net
