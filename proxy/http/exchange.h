#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "net/address_range.h"
#include "net/event_loop.h"
#include "net/http/stream.h"
#include "net/http/stream_reservation.h"
#include "proxy/config/config.h"
#include "proxy/http/buffer_budget.h"
#include "proxy/http/exchange_report.h"
#include "proxy/http/filter.h"
#include "proxy/http/route_table.h"
#include "proxy/upstream/upstream_cluster.h"

namespace penstock::proxy {

class Exchange;

// Who sent a request, as text that is made once per connection.
struct ClientAddress {
  std::string host;  // "10.0.0.1"
  std::string text;  // "10.0.0.1:5000"
  bool is_trusted = false;
};

// What the exchanges of one listener on one worker share.
struct ExchangeContext {
  net::EventLoop& loop;
  const RouteTable& routes;
  const std::vector<std::unique_ptr<UpstreamCluster>>& clusters;
  BufferBudget& budget;
  // The filters of every request, in order; the last one gives the answer.
  const std::vector<std::function<std::unique_ptr<Filter>(Exchange&)>>& filters;
  bool is_tls = false;
  std::span<const net::AddressRange> trusted_proxies;
};

// One request with its response: buffers the request's body under back-pressure, leads it through
// the filters, and ends in exactly one outcome. Loop thread only.
class Exchange final : public http::RequestHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The exchange is over; the owner frees it with destroyLater.
    virtual void onExchangeEnd(Exchange& exchange) = 0;
    // For work of the request that outlives the exchange.
    virtual http::StreamReservation reserveStream() = 0;
  };

  // The client outlives the exchange.
  Exchange(const ExchangeContext& context, http::ServerStream& stream, Owner& owner,
           http::Protocol protocol, const ClientAddress& client);

  // --- for filters: the request
  net::EventLoop& loop() { return context_.loop; }
  const http::RequestHead& requestHead() const { return head_; }
  http::RequestHead& requestHead() { return head_; }
  http::Protocol protocol() const { return protocol_; }
  const ClientAddress& client() const { return client_; }
  // What is buffered and not sent on yet.
  net::Buffer& requestBody() { return body_; }
  bool isWebSocket() const { return kind_ == Kind::kWebSocket; }
  bool isGrpc() const { return kind_ == Kind::kGrpc; }
  // A WebSocket or gRPC: client and replica may speak in turns, and either may be the first. So its
  // body is not waited for before a replica has it.
  bool isDuplex() const { return kind_ != Kind::kPlain; }
  // The client sends its body only once it is told to, which the exchange does when the filters
  // have seen the head and have not refused it.
  bool awaitsContinue() const { return stream_ != nullptr && stream_->awaitsContinue(); }
  // Nothing more comes than requestBody() and requestTrailers().
  bool requestComplete() const { return request_complete_; }
  const http::Headers& requestTrailers() const { return trailers_; }
  const RouteConfig& route() const { return *route_; }
  UpstreamCluster& cluster() { return *cluster_; }
  // Empty if no route matched.
  std::string_view clusterName() const;
  ExchangeReport& report() { return report_; }
  // When the whole exchange must be over, and whether it was the client who said so.
  Deadline deadline() const { return deadline_; }
  bool deadlineIsClients() const { return deadline_is_clients_; }
  // One timer, of whichever filter holds the request. Deadline::never() disarms it.
  void setTimer(Filter& filter, Deadline when);
  // Goes on behind the filter that stopped the request.
  void continueRequest();
  // Bytes of the request that lie further on, towards the replica: they hold back the client too.
  void setUpstreamBacklog(std::size_t bytes);
  http::StreamReservation reserveStream() { return owner_.reserveStream(); }

  // --- for filters: the slot
  void setSlot(Slot slot) { slot_ = std::move(slot); }
  // From now on a replica has the request, and what is left of it may come slowly.
  Slot takeSlot();
  // See Filter::onPutBack. If no filter takes the slot back, slot still holds it.
  bool putBack(Slot& slot, RetryCause cause);

  // --- for filters: the response
  // Ends the exchange with an answer of our own; after the response has begun, by a gRPC status
  // where the client reads one, else by resetting it.
  void reply(Reason reason, std::string_view detail = {});
  // The same, because deadline() has passed.
  void replyOutOfTime();
  // The same for a request that gets no slot (again): with reason, which promises that no replica
  // ran it, or with how its last attempt failed, if one may have.
  void replyNotAdmitted(Reason reason);
  bool responseStarted() const { return response_ != Response::kNone; }
  // A WebSocket that the replica has accepted: has no deadline any more.
  bool isTunnel() const { return response_ == Response::kTunnel; }
  void sendInformational(const http::ResponseHead& head);
  void sendResponseHead(http::ResponseHead head, bool end_stream);
  void sendResponseData(std::span<const std::uint8_t> data, bool end_stream);
  void sendResponseTrailers(const http::Headers& trailers);
  std::size_t unsentResponseBytes() const {
    return stream_ == nullptr ? 0 : stream_->unsentBytes();
  }

  // The time to be admitted is over: a request without a slot is refused, whether it never had one
  // or was put back.
  void refuseIfNotAdmitted();
  // Cuts off an accepted WebSocket, which knows no end of its own.
  void endTunnel();

  void onRequestHead(http::RequestHead head, bool end_stream) override;
  bool onUnreadable(http::Rejection why, std::string_view detail) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override;
  void onEnd(http::StreamEnd end) override;

 private:
  enum class Kind { kPlain, kGrpc, kWebSocket };
  enum class Response {
    kNone,
    kBegun,
    kBegunGrpc,  // its client reads a status from trailers
    kTunnel,
    kEnded,
  };

  static Kind kindOf(const http::RequestHead& head);
  // The last filter has the request, and its slot.
  bool admitted() const { return position_ + 1 == filters_.size(); }
  bool acceptHead();
  void prepareHead();
  void endBegunResponse(Reason reason, std::string_view detail);
  void onTimer();
  void armTimer();
  // The body is wanted, and somebody but the codec bounds how slowly it comes.
  void inviteBody();
  void dropRequest();
  void finish();
  void updateBuffered();

  const ExchangeContext& context_;
  http::ServerStream* stream_;
  Owner& owner_;
  const http::Protocol protocol_;
  const ClientAddress& client_;
  http::RequestHead head_;
  net::Buffer body_;
  http::Headers trailers_;
  bool request_complete_ = false;
  bool dropped_ = false;
  Kind kind_ = Kind::kPlain;
  Response response_ = Response::kNone;
  bool deadline_is_clients_ = false;
  const RouteConfig* route_ = nullptr;
  UpstreamCluster* cluster_ = nullptr;
  Deadline deadline_ = Deadline::never();
  Deadline filter_deadline_ = Deadline::never();
  Filter* timer_filter_ = nullptr;
  net::Timer timer_;
  std::optional<net::Deferred> abort_;
  Slot slot_;
  std::size_t unconsumed_ = 0;
  std::size_t upstream_backlog_ = 0;
  std::int64_t accounted_ = 0;
  ExchangeReport report_;
  std::vector<std::unique_ptr<Filter>> filters_;
  std::size_t position_ = 0;  // the filter that has the request
};

}  // namespace penstock::proxy
