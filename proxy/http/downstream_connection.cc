#include "proxy/http/downstream_connection.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::proxy {

DownstreamConnection::DownstreamConnection(Id id, const ExchangeContext& context,
                                           std::unique_ptr<net::Connection> connection,
                                           const http::Limits& limits, Owner& owner)
    : id_(id),
      context_(context),
      owner_(owner),
      client_{.host = connection->peer().host(),
              .text = connection->peer().toString(),
              .is_trusted = std::ranges::any_of(
                  context.trusted_proxies,
                  [&](const net::AddressRange& r) { return r.contains(connection->peer()); })},
      http_(http::ServerConnection::make(context.loop, std::move(connection), limits, *this)) {}

DownstreamConnection::~DownstreamConnection() = default;

http::RequestHandler* DownstreamConnection::onStream(http::ServerStream& stream) {
  auto exchange = std::make_unique<Exchange>(context_, stream, *this, http_->protocol(), client_);
  Exchange* const handler = exchange.get();
  exchanges_.push_back(std::move(exchange));
  return handler;
}

http::ResponseHead DownstreamConnection::rejectRequest(http::ServerConnection::Rejection why,
                                                       std::string_view detail, std::string& body) {
  LocalReply reply = reject(why, detail, false);
  body = std::move(reply.body);
  return std::move(reply.head);
}

http::ResponseHead DownstreamConnection::rejectGrpcRequest(http::ServerConnection::Rejection why,
                                                           std::string_view detail,
                                                           std::string& body) {
  LocalReply reply = reject(why, detail, true);
  body = std::move(reply.body);
  return std::move(reply.head);
}

LocalReply DownstreamConnection::reject(http::Rejection why, std::string_view detail,
                                        bool is_grpc) {
  const Reason reason = reasonOf(why);
  const std::string request_id = owner_.newRequestId();
  LocalReply reply = makeLocalReply(reason, detail, request_id, is_grpc, Duration::zero());
  owner_.onRejected(reason);
  ExchangeReport report;
  report.start_time = std::chrono::system_clock::now();
  report.reason = reason;
  report.status = reply.head.status;
  owner_.logRejected(client_, http_->protocol(), request_id, report);
  return reply;
}

void DownstreamConnection::refuseWaiting() {
  for (Exchange* exchange : all()) {
    exchange->refuseIfNotAdmitted();
  }
}

void DownstreamConnection::endTunnels() {
  for (Exchange* exchange : all()) {
    exchange->endTunnel();
  }
}

std::vector<Exchange*> DownstreamConnection::all() const {
  std::vector<Exchange*> result;
  for (const auto& exchange : exchanges_) {
    result.push_back(exchange.get());
  }
  return result;
}

void DownstreamConnection::onConnectionClosed(http::ServerConnection&) {
  owner_.onDownstreamClosed(*this);
}

void DownstreamConnection::onExchangeEnd(Exchange& exchange) {
  if (exchange.clusterName().empty() && exchange.report().reason != Reason::kNone) {
    owner_.onRejected(exchange.report().reason);
  }
  const auto place = std::ranges::find(exchanges_, &exchange, &std::unique_ptr<Exchange>::get);
  PENSTOCK_CHECK(place != exchanges_.end(), "an exchange ends once");
  std::swap(*place, exchanges_.back());
  context_.loop.destroyLater(std::move(exchanges_.back()));
  exchanges_.pop_back();
}

}  // namespace penstock::proxy
