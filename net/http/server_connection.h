#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>

#include "net/connection.h"
#include "net/http/limits.h"
#include "net/http/stream.h"
#include "net/http/stream_reservation.h"

namespace penstock::http {

// A downstream HTTP connection: chooses HTTP/2 or HTTP/1.1 (TLS: by ALPN; plain: by the preface)
// and turns bytes into streams. Loop thread only.
//
// Errors that are the request's own fault are answered here, before a handler hears of the request,
// through Owner::rejectRequest, so that there is one table of replies.
class ServerConnection {
 public:
  using Rejection = http::Rejection;

  // What an HTTP/2 client did too often; the connection ends. Header bytes: that its header blocks
  // became much more by decoding than they were on the wire.
  // Outbound frames: that more answers to its frames wait than may, since it reads none.
  enum class Flood { kClientResets, kForcedResets, kFrames, kHeaderBytes, kOutboundFrames };
  // What a client did not do in time. Preface: that of HTTP/2, and its first SETTINGS. Settings
  // ack: its answer to ours. Write: take any of what waits for it; ends its stream or its
  // connection.
  enum class Overdue { kPreface, kSettingsAck, kWrite };

  class Owner {
   public:
    virtual ~Owner() = default;
    // A request begins; the handler must live until its onEnd (or its own reset()). Null: refuse it
    // (HTTP/2 REFUSED_STREAM; HTTP/1: cannot happen).
    virtual RequestHandler* onStream(ServerStream& stream) = 0;
    // A request that no handler will see, or whose handler does not answer what is unreadable:
    // gives the reply to send. detail says what was wrong.
    virtual ResponseHead rejectRequest(Rejection why, std::string_view detail,
                                       std::string& body) = 0;
    // The same for one that is known to be gRPC's.
    virtual ResponseHead rejectGrpcRequest(Rejection why, std::string_view detail,
                                           std::string& body) {
      return rejectRequest(why, detail, body);
    }
    virtual void onFlood(Flood) {}
    // The client and this server did not agree on TLS, or not in time. The connection closes.
    virtual void onHandshakeFailed(std::string_view why) { static_cast<void>(why); }
    virtual void onOverdue(Overdue) {}
    // HTTP/2: a request, or what came in the place of one, that cannot be answered. Its stream is
    // reset, or its connection ends.
    virtual void onUnanswerable(Rejection /*why*/, std::string_view /*detail*/) {}
    // The connection is closed; the owner frees it with EventLoop::destroyLater. Every stream has
    // had its onEnd.
    virtual void onConnectionClosed(ServerConnection& connection) = 0;
  };

  static std::unique_ptr<ServerConnection> make(net::EventLoop& loop,
                                                std::unique_ptr<net::Connection> connection,
                                                const Limits& limits, Owner& owner);
  virtual ~ServerConnection() = default;

  // What becomes of a connection without a request, when it drains.
  enum class Idle {
    kClose,   // room is wanted: HTTP/1 closes at once
    kAnswer,  // a request may be on its way: HTTP/1 waits for it, for kDrainNotice
  };
  static constexpr std::chrono::seconds kDrainNotice{1};
  // Finishes what runs, takes no more: HTTP/2 GOAWAY twice (first with the highest id, then, when a
  // PING has come back or kDrainNotice has passed, with that of the last request), HTTP/1
  // "connection: close" on the next response. Requests that still come go to the owner.
  virtual void drain(Idle idle) = 0;
  // Closes now; streams get onEnd(kLocal). No onConnectionClosed.
  virtual void close() = 0;
  virtual std::size_t activeStreams() const = 0;
  // Only while a stream is open or has just ended.
  virtual StreamReservation reserveStream() = 0;
  virtual Protocol protocol() const = 0;
  virtual const net::Connection& connection() const = 0;
};

}  // namespace penstock::http
