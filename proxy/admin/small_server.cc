#include "proxy/admin/small_server.h"

#include <chrono>
#include <utility>
#include <vector>

#include "net/connection.h"

namespace penstock::proxy {
namespace {

constexpr Duration kIdle = std::chrono::seconds(1);

}  // namespace

class SmallServer::Connection final : public http::ServerConnection::Owner, public Request::Holder {
 public:
  Connection(SmallServer& server, net::UniqueFd fd, const net::Address& peer)
      : server_(server), idle_since_(server.loop_.now()) {
    auto transport = std::make_unique<net::Connection>(server.loop_, std::move(fd), peer, nullptr,
                                                       net::Connection::Options{});
    http_ = http::ServerConnection::make(server.loop_, std::move(transport), server.limits_, *this);
  }
  ~Connection() override {
    if (http_ != nullptr) {
      http_->close();
      server_.loop_.destroyLater(std::move(http_));
    }
  }

  http::RequestHandler* onStream(http::ServerStream& stream) override {
    auto request = server_.owner_.makeRequest(stream);
    Request* const handler = request.get();
    handler->holder_ = this;
    requests_.emplace(handler, std::move(request));
    return handler;
  }
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override {
    LocalReply reply = server_.owner_.reject(reasonOf(why), detail);
    body = std::move(reply.body);
    return std::move(reply.head);
  }
  void onConnectionClosed(http::ServerConnection&) override {
    server_.loop_.destroyLater(std::move(http_));
    server_.onClosed(*this);
  }
  void forget(Request& request) override {
    const auto it = requests_.find(&request);
    server_.loop_.destroyLater(std::move(it->second));
    requests_.erase(it);
    idle_since_ = server_.loop_.now();
  }
  void drain() { http_->drain(); }
  bool isIdle() const { return requests_.empty() && server_.loop_.now() - idle_since_ >= kIdle; }

 private:
  SmallServer& server_;
  TimePoint idle_since_;  // unless there are requests
  // Before http_, whose streams refer to them until they are closed.
  std::unordered_map<Request*, std::unique_ptr<Request>> requests_;
  std::unique_ptr<http::ServerConnection> http_;
};

void SmallServer::Request::onEnd(http::StreamEnd) {
  onEnded();
  holder_->forget(*this);
}

SmallServer::SmallServer(net::EventLoop& loop, net::UniqueFd socket, const http::Limits& limits,
                         std::size_t max_connections, Owner& owner)
    : loop_(loop),
      limits_(limits),
      max_connections_(max_connections),
      owner_(owner),
      listener_(loop, std::move(socket), *this),
      make_room_(loop, [this] { makeRoom(); }) {}

SmallServer::~SmallServer() = default;

void SmallServer::drain() {
  draining_ = true;
  listener_.close();
  make_room_.disarm();
  for (Connection* connection : all()) {
    connection->drain();
  }
}

// Draining one may end it at once, and so take it out of the table.
std::vector<SmallServer::Connection*> SmallServer::all() const {
  std::vector<Connection*> result;
  for (const auto& [connection, owned] : connections_) {
    result.push_back(connection);
  }
  return result;
}

void SmallServer::makeRoom() {
  for (Connection* connection : all()) {
    if (connection->isIdle()) {
      connection->drain();
    }
  }
  if (full()) {
    make_room_.armAfter(kIdle);
  }
}

void SmallServer::onAccept(net::UniqueFd fd, const net::Address& peer) {
  auto connection = std::make_unique<Connection>(*this, std::move(fd), peer);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
  listener_.setAccepting(!full());
  if (full()) {
    make_room_.armAfter(kIdle);
  }
}

void SmallServer::onClosed(Connection& connection) {
  const auto it = connections_.find(&connection);
  loop_.destroyLater(std::move(it->second));
  connections_.erase(it);
  if (!draining_) {
    listener_.setAccepting(true);
  }
}

void sendReply(http::ServerStream& stream, const LocalReply& reply, bool head_only) {
  const bool without_body = head_only || reply.body.empty();
  stream.sendHead(reply.head, without_body);
  if (!without_body) {
    net::Buffer body;
    body.append(reply.body);
    stream.sendData(body, true);
  }
}

}  // namespace penstock::proxy
