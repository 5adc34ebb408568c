#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "sidecar/service.h"

namespace penstock::sidecar {

// One connection of a client (as a rule, the proxy), whose streams become exchanges of the service.
// Loop thread only.
class DownstreamConnection final : private http::ServerConnection::Owner {
 public:
  using Id = std::uint64_t;
  class Owner {
   public:
    virtual ~Owner() = default;
    // Closed; the owner frees it with EventLoop::destroyLater.
    virtual void onDownstreamClosed(DownstreamConnection& connection) = 0;
  };

  // local: the address that the client connected to.
  DownstreamConnection(Id id, net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                       const net::Address& local, const http::Limits& limits, Service& service,
                       Owner& owner);
  ~DownstreamConnection() override;

  Id id() const { return id_; }
  bool idle() const { return http_->activeStreams() == 0; }
  // Finishes what runs, takes no more.
  void drain(http::ServerConnection::Idle idle) { http_->drain(idle); }
  void close() { http_->close(); }

 private:
  http::RequestHandler* onStream(http::ServerStream& stream) override;
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override;
  void onUnanswerable(http::Rejection why, std::string_view detail) override;
  void onConnectionClosed(http::ServerConnection& connection) override;

  const Id id_;
  const Ends ends_;
  Service& service_;
  Owner& owner_;
  std::unique_ptr<http::ServerConnection> http_;
};

}  // namespace penstock::sidecar
