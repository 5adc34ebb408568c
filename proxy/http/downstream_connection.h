#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/server_connection.h"
#include "proxy/http/exchange.h"

namespace penstock::proxy {

// One client's connection with the exchanges that run on it. Loop thread only.
class DownstreamConnection final : public http::ServerConnection::Owner, public Exchange::Owner {
 public:
  using Id = std::uint64_t;

  class Owner {
   public:
    virtual ~Owner() = default;
    // Closed; the owner frees it with destroyLater.
    virtual void onDownstreamClosed(DownstreamConnection& connection) = 0;
    // A request ended without reaching a cluster.
    virtual void onRejected(Reason reason) = 0;
    virtual void onFlood(http::ServerConnection::Flood flood) = 0;
    virtual void onHandshakeFailed(const net::Address& client, std::string_view why) = 0;
    virtual void onOverdue(http::ServerConnection::Overdue what) = 0;
    // One that had no exchange has been answered.
    virtual void logRejected(const ClientAddress& client, http::Protocol protocol,
                             std::string_view request_id, const ExchangeReport& report) = 0;
    virtual std::string newRequestId() = 0;
  };

  DownstreamConnection(Id id, const ExchangeContext& context,
                       std::unique_ptr<net::Connection> connection, const http::Limits& limits,
                       Owner& owner);
  ~DownstreamConnection() override;

  Id id() const { return id_; }
  std::size_t exchanges() const { return exchanges_.size(); }
  http::ServerConnection& http() { return *http_; }
  void refuseWaiting();
  void endTunnels();

  http::RequestHandler* onStream(http::ServerStream& stream) override;
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override;
  http::ResponseHead rejectGrpcRequest(http::ServerConnection::Rejection why,
                                       std::string_view detail, std::string& body) override;
  void onFlood(http::ServerConnection::Flood flood) override { owner_.onFlood(flood); }
  void onHandshakeFailed(std::string_view why) override {
    owner_.onHandshakeFailed(http_->connection().peer(), why);
  }
  void onOverdue(http::ServerConnection::Overdue what) override { owner_.onOverdue(what); }
  void onUnanswerable(http::Rejection why, std::string_view detail) override {
    reject(why, detail, false);
  }
  void onConnectionClosed(http::ServerConnection& connection) override;

 private:
  LocalReply reject(http::Rejection why, std::string_view detail, bool is_grpc);
  void onExchangeEnd(Exchange& exchange) override;
  http::StreamReservation reserveStream() override { return http_->reserveStream(); }
  // A list of its own: ending one changes exchanges_, but frees it only when the turn is over.
  std::vector<Exchange*> all() const;

  const Id id_;
  const ExchangeContext& context_;
  Owner& owner_;
  const ClientAddress client_;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::unique_ptr<http::ServerConnection> http_;
};

}  // namespace penstock::proxy
