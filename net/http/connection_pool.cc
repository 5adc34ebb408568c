#include "net/http/connection_pool.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::http {

void StreamWaiter::stopWaiting() {
  if (pool_ != nullptr) {
    pool_->forget(*this);
  }
}

ConnectionPool::ConnectionPool(net::EventLoop& loop, const net::Address& address,
                               const PoolSettings& settings)
    : loop_(loop), address_(address), settings_(settings), protocol_(settings.protocol) {}

ConnectionPool::~ConnectionPool() {
  PENSTOCK_CHECK(waiters_.empty(), "nobody waits for a connection when a pool ends");
  for (Pooled& pooled : connections_) {
    pooled.connection->close();
  }
}

void ConnectionPool::wait(StreamWaiter& waiter) {
  // The connection used last first, so that those not needed grow idle.
  for (auto it = connections_.rbegin(); it != connections_.rend(); ++it) {
    if (it->ready && !it->draining && it->connection->canOpen()) {
      waiter.onConnection(*it->connection);
      return;
    }
  }
  waiter.pool_ = this;
  waiters_.push_back(&waiter);
  connectForWaiters();
}

void ConnectionPool::connectForWaiters() {
  const bool shared = protocol_ != UpstreamProtocol::kHttp1;
  const std::size_t wanted = shared ? std::min<std::size_t>(waiters_.size(), 1) : waiters_.size();
  for (std::size_t n = connecting(); n < wanted; ++n) {
    connect();
  }
}

void ConnectionPool::connect() {
  auto connection = net::Connection::connect(
      loop_, address_, settings_.tls, Deadline::after(loop_.now(), settings_.connect_timeout),
      settings_.connection);
  connections_.push_back({.connection = ClientConnection::make(loop_, std::move(connection),
                                                               protocol_, settings_.limits, *this),
                          .idle_since = loop_.now()});
}

void ConnectionPool::closeIdle(TimePoint now) {
  std::vector<ClientConnection*> idle;
  for (Pooled& pooled : connections_) {
    if (!pooled.ready) {
      continue;
    }
    const Duration timeout = pooled.connection->protocol() == Protocol::kHttp2
                                 ? settings_.idle_timeout_http2
                                 : settings_.idle_timeout_http1;
    if (pooled.connection->activeStreams() == 0 && now - pooled.idle_since >= timeout) {
      idle.push_back(pooled.connection.get());
    }
  }
  for (ClientConnection* connection : idle) {
    connection->close();
    loop_.destroyLater(remove(*connection));
  }
}

void ConnectionPool::onReady(ClientConnection& connection) {
  Pooled& pooled = find(connection);
  pooled.ready = true;
  // Over TLS, "auto" is known only now; later connections need not be asked.
  if (protocol_ == UpstreamProtocol::kAuto) {
    protocol_ = connection.protocol() == Protocol::kHttp2 ? UpstreamProtocol::kHttp2
                                                          : UpstreamProtocol::kHttp1;
  }
  serve(pooled);
  connectForWaiters();
}

void ConnectionPool::onCapacity(ClientConnection& connection) {
  Pooled& pooled = find(connection);
  pooled.idle_since = loop_.now();
  if (pooled.ready && !pooled.draining) {
    serve(pooled);
  }
}

void ConnectionPool::onDraining(ClientConnection& connection) {
  find(connection).draining = true;
  connectForWaiters();
}

void ConnectionPool::onConnectionClosed(ClientConnection& connection, net::CloseReason reason) {
  const bool was_ready = find(connection).ready;
  loop_.destroyLater(remove(connection));
  if (!was_ready) {
    hung_up_ = false;
    // Over HTTP/2 all waited for this one.
    failWaiters(reason, protocol_ == UpstreamProtocol::kHttp1 ? std::size_t{1} : waiters_.size());
  }
  connectForWaiters();
}

void ConnectionPool::onNotHttp2(ClientConnection& connection, NotHttp2 how) {
  // Who ended in mid-greeting does not do so twice in a row; and what is found out here stays.
  if (how == NotHttp2::kSaid || std::exchange(hung_up_, true)) {
    protocol_ = UpstreamProtocol::kHttp1;
  }
  connection.close();
  loop_.destroyLater(remove(connection));
  connectForWaiters();
}

void ConnectionPool::serve(Pooled& pooled) {
  ClientConnection& connection = *pooled.connection;
  while (!waiters_.empty() && connection.canOpen()) {
    StreamWaiter& waiter = *waiters_.front();
    forget(waiter);
    waiter.onConnection(connection);
  }
}

void ConnectionPool::forget(StreamWaiter& waiter) {
  std::erase(waiters_, &waiter);
  waiter.pool_ = nullptr;
}

void ConnectionPool::failWaiters(net::CloseReason reason, std::size_t count) {
  for (std::size_t i = 0; i < count && !waiters_.empty(); ++i) {
    StreamWaiter& waiter = *waiters_.front();
    forget(waiter);
    waiter.onConnectFailed(reason);
  }
}

ConnectionPool::Pooled& ConnectionPool::find(const ClientConnection& connection) {
  const auto it = std::ranges::find_if(
      connections_, [&](const Pooled& pooled) { return pooled.connection.get() == &connection; });
  PENSTOCK_CHECK(it != connections_.end(), "a pool hears only of its own connections");
  return *it;
}

std::unique_ptr<ClientConnection> ConnectionPool::remove(const ClientConnection& connection) {
  Pooled& pooled = find(connection);
  auto result = std::move(pooled.connection);
  connections_.erase(connections_.begin() + (&pooled - connections_.data()));
  return result;
}

std::size_t ConnectionPool::connecting() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(connections_, [](const Pooled& pooled) { return !pooled.ready; }));
}

}  // namespace penstock::http
