#include "sidecar/downstream_connection.h"

#include <utility>

namespace penstock::sidecar {
namespace {

Refusal refusalOf(http::ServerConnection::Rejection why) {
  using Rejection = http::ServerConnection::Rejection;
  switch (why) {
    case Rejection::kBadRequest:
    case Rejection::kWebSocketVersion:
      return Refusal::kBadRequest;
    case Rejection::kMethodNotAllowed:
      return Refusal::kMethodNotAllowed;
    case Rejection::kRequestTimeout:
      return Refusal::kRequestTimeout;
    case Rejection::kUriTooLong:
      return Refusal::kUriTooLong;
    case Rejection::kMisdirected:
      return Refusal::kMisdirected;
    case Rejection::kHeadersTooLarge:
      return Refusal::kHeadersTooLarge;
    case Rejection::kVersionNotSupported:
      return Refusal::kVersion;
    case Rejection::kNotImplemented:
      break;
  }
  return Refusal::kNotImplemented;
}

}  // namespace

DownstreamConnection::DownstreamConnection(Id id, net::EventLoop& loop,
                                           std::unique_ptr<net::Connection> connection,
                                           const net::Address& local, const http::Limits& limits,
                                           Service& service, Owner& owner)
    : id_(id),
      ends_{.client = connection->peer(), .server = local},
      service_(service),
      owner_(owner),
      http_(http::ServerConnection::make(loop, std::move(connection), limits, *this)) {}

DownstreamConnection::~DownstreamConnection() = default;

http::RequestHandler* DownstreamConnection::onStream(http::ServerStream& stream) {
  return &service_.add(stream, [this] { return http_->reserveStream(); }, ends_);
}

http::ResponseHead DownstreamConnection::rejectRequest(http::ServerConnection::Rejection why,
                                                       std::string_view detail, std::string& body) {
  const Refusal refusal = refusalOf(why);
  service_.countRefusal(refusal);
  Reply reply = makeRefusal(refusal, detail);
  reply.head.headers.add("x-penstock-sidecar", "1");
  body = std::move(reply.body);
  return std::move(reply.head);
}

void DownstreamConnection::onUnanswerable(http::Rejection why, std::string_view) {
  service_.countRefusal(refusalOf(why));
}

void DownstreamConnection::onConnectionClosed(http::ServerConnection&) {
  owner_.onDownstreamClosed(*this);
}

}  // namespace penstock::sidecar
