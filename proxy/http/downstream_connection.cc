#include "proxy/http/downstream_connection.h"

#include <vector>

namespace penstock::proxy {

DownstreamConnection::DownstreamConnection(Id id, const ExchangeContext& context,
                                           std::unique_ptr<net::Connection> connection,
                                           const http::Limits& limits, Owner& owner)
    : id_(id),
      context_(context),
      owner_(owner),
      client_{.host = connection->peer().host(), .text = connection->peer().toString()},
      http_(http::ServerConnection::make(context.loop, std::move(connection), limits, *this)) {}

DownstreamConnection::~DownstreamConnection() = default;

http::RequestHandler* DownstreamConnection::onStream(http::ServerStream& stream) {
  auto exchange = std::make_unique<Exchange>(context_, stream, *this, http_->protocol(), client_);
  Exchange* const handler = exchange.get();
  exchanges_.emplace(handler, std::move(exchange));
  return handler;
}

http::ResponseHead DownstreamConnection::rejectRequest(http::ServerConnection::Rejection why,
                                                       std::string_view detail, std::string& body) {
  const Reason reason = reasonOf(why);
  owner_.onRejected(reason);
  ExchangeReport report;
  report.start_time = std::chrono::system_clock::now();
  report.reason = reason;
  report.status = outcomeOf(reason).status;
  owner_.logRejected(client_, http_->protocol(), report);
  LocalReply reply = makeLocalReply(reason, detail, owner_.newRequestId(), false, Duration::zero());
  body = std::move(reply.body);
  return std::move(reply.head);
}

void DownstreamConnection::refuseWaiting() {
  for (const auto& [key, exchange] : exchanges_) {
    exchange->refuseIfNotAdmitted();
  }
}

void DownstreamConnection::endTunnels() {
  std::vector<Exchange*> ending;  // which changes exchanges_
  for (const auto& [key, exchange] : exchanges_) {
    ending.push_back(key);
  }
  for (Exchange* exchange : ending) {
    exchange->endTunnel();
  }
}

void DownstreamConnection::onConnectionClosed(http::ServerConnection&) {
  owner_.onDownstreamClosed(*this);
}

void DownstreamConnection::onExchangeEnd(Exchange& exchange) {
  if (exchange.clusterName().empty()) {
    owner_.onRejected(exchange.report().reason);
  }
  auto node = exchanges_.extract(&exchange);
  context_.loop.destroyLater(std::move(node.mapped()));
}

std::move_only_function<void()> DownstreamConnection::linger() {
  http_->addLingering(1);
  return [&owner = owner_, id = id_] {
    if (DownstreamConnection* connection = owner.findDownstream(id)) {
      connection->http_->addLingering(-1);
    }
  };
}

}  // namespace penstock::proxy
