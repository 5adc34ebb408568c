#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "net/connection.h"
#include "net/http/limits.h"
#include "net/http/stream.h"

namespace penstock::http {

enum class UpstreamProtocol { kAuto, kHttp2, kHttp1 };

// How a peer showed that it does not speak HTTP/2 with prior knowledge.
enum class NotHttp2 {
  kSaid,    // by other bytes, or by silence
  kHungUp,  // which it may also have done because it ended just then
};

// An upstream HTTP connection: HTTP/2 with prior knowledge (or ALPN) or HTTP/1.1. Loop thread only.
// Streams are opened only when canOpen(); a pool keeps the connections.
class ClientConnection {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Usable: connected (and, over HTTP/2, the server's SETTINGS have come).
    virtual void onReady(ClientConnection& connection) = 0;
    // canOpen() may have become true: a stream ended, or the peer raised its stream limit.
    virtual void onCapacity(ClientConnection& connection) = 0;
    // No new streams from now on (GOAWAY, "connection: close"); those running go on.
    virtual void onDraining(ClientConnection& connection) = 0;
    // Closed, every stream has had its onEnd. reason tells connect failures from later ones. The
    // owner frees it with EventLoop::destroyLater.
    virtual void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) = 0;
    // kAuto only: the peer does not speak HTTP/2 with prior knowledge (no stream was opened).
    // Another connection is to be made, with kHttp1 if that is sure; onConnectionClosed does not
    // follow.
    virtual void onNotHttp2(ClientConnection& connection, NotHttp2 how) = 0;
    // HTTP/1.1 only: where an answer should begin, the peer says what begins HTTP/2's SETTINGS.
    // Whether the owner had only guessed the protocol, and now knows better.
    virtual bool onHttp2Greeting(ClientConnection&) { return false; }
  };

  // protocol kAuto: HTTP/2 preface first; TLS: by ALPN.
  static std::unique_ptr<ClientConnection> make(net::EventLoop& loop,
                                                std::unique_ptr<net::Connection> connection,
                                                UpstreamProtocol protocol, const Limits& limits,
                                                Owner& owner);
  virtual ~ClientConnection() = default;

  // Whether newStream() may be called now. HTTP/1: idle, and still open (end of file is looked for
  // before reuse; unexpected bytes have closed it).
  virtual bool canOpen() const = 0;
  // Handler lives until its onEnd or its own reset().
  virtual ClientStream& newStream(ResponseHandler& handler) = 0;
  virtual std::size_t activeStreams() const = 0;
  // canOpen() is false only until the peer has shown that it lives: onCapacity, or
  // onConnectionClosed, follows within 2 s.
  virtual bool inDoubt() const { return false; }
  // Whether a request for a WebSocket may be sent. HTTP/2: the peer has announced RFC 8441.
  virtual bool takesWebSockets() const = 0;
  // Closes now; streams get onEnd(kLocal). No callback to the owner.
  virtual void close() = 0;
  virtual Protocol protocol() const = 0;
  virtual const net::Connection& connection() const = 0;
};

}  // namespace penstock::http
