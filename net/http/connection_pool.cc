#include "net/http/connection_pool.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::http {
namespace {

// As many HTTP/2 connections as there may be without having used up the streams of all.
constexpr std::size_t kSharedConnections = 2;

}  // namespace

void StreamWaiter::stopWaiting() {
  if (pool_ != nullptr) {
    pool_->forget(*this);
  }
}

ConnectionPool::ConnectionPool(net::EventLoop& loop, const net::Address& address,
                               const PoolSettings& settings)
    : loop_(loop),
      address_(address),
      settings_(settings),
      protocol_(settings.protocol),
      timer_(loop, [this] { attend(); }) {}

ConnectionPool::~ConnectionPool() {
  PENSTOCK_CHECK(waiters_.empty(), "nobody waits for a connection when a pool ends");
  while (!connections_.empty()) {
    connections_.back().connection->close();
    remove(*connections_.back().connection);
  }
}

void ConnectionPool::wait(StreamWaiter& waiter) {
  // The connection used last first, so that those not needed grow idle.
  for (auto it = connections_.rbegin(); it != connections_.rend(); ++it) {
    if (it->phase == Phase::kReady && it->connection->canOpen()) {
      back_off_.onUsed();
      waiter.onConnection(*it->connection);
      return;
    }
  }
  waiter.pool_ = this;
  waiter.since_ = loop_.now();
  waiters_.push_back(&waiter);
  attend();
}

bool ConnectionPool::mayConnect() const {
  const std::size_t connecting = count(Phase::kConnecting) + inDoubt();
  const std::size_t cap = settings_.max_connections;
  if (connecting >= (shares() ? std::min<std::size_t>(waiters_.size(), 1) : waiters_.size()) ||
      (cap > 0 && connections_.size() >= cap) || !back_off_.allows(loop_.now())) {
    return false;
  }
  if (!shares() || connections_.size() < kSharedConnections) {
    return true;
  }
  return !anyStuck() && connections_.size() < activeStreams() + waiters_.size();
}

void ConnectionPool::attend() {
  timer_.disarm();
  if (waiters_.empty()) {
    return;
  }
  while (mayConnect()) {
    connect();
  }
  // A connection in the making has bounds of its own.
  const std::size_t doubted = inDoubt();
  const bool for_stream =
      count(Phase::kConnecting) + doubted == 0 || (shares() && count(Phase::kReady) > doubted);
  if (!for_stream) {
    connected_since_.reset();
  } else if (!connected_since_) {
    connected_since_ = loop_.now();
  }
  giveUpOverdue();
  if (waiters_.empty()) {
    return;
  }
  TimePoint next = connected_since_ ? overdueAt(*waiters_.front()) : TimePoint::max();
  if (!back_off_.allows(loop_.now())) {
    next = std::min(next, back_off_.next());
  }
  if (next != TimePoint::max()) {
    timer_.arm(next);
  }
}

TimePoint ConnectionPool::overdueAt(const StreamWaiter& waiter) const {
  return Deadline::after(std::max(waiter.since_, *connected_since_), settings_.stream_timeout)
      .when();
}

void ConnectionPool::giveUpOverdue() {
  while (!waiters_.empty() && connected_since_ && overdueAt(*waiters_.front()) <= loop_.now()) {
    StreamWaiter& waiter = *waiters_.front();
    forget(waiter);
    if (settings_.figures != nullptr) {
      settings_.figures->no_stream.fetch_add(1, std::memory_order_relaxed);
    }
    waiter.onNoStream();
  }
}

void ConnectionPool::connect() {
  if (settings_.figures != nullptr) {
    settings_.figures->open.fetch_add(1, std::memory_order_relaxed);
    settings_.figures->opened.fetch_add(1, std::memory_order_relaxed);
  }
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
    if (pooled.phase == Phase::kConnecting) {
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
  pooled.phase = Phase::kReady;
  // Over TLS, "auto" is known only now; later connections need not be asked.
  if (protocol_ == UpstreamProtocol::kAuto) {
    protocol_ = connection.protocol() == Protocol::kHttp2 ? UpstreamProtocol::kHttp2
                                                          : UpstreamProtocol::kHttp1;
  }
  if (!waiters_.empty() && !connection.canOpen()) {
    back_off_.onUseless(loop_.now());
  }
  serve(connection);
  attend();
}

void ConnectionPool::onCapacity(ClientConnection& connection) {
  Pooled& pooled = find(connection);
  pooled.idle_since = loop_.now();
  if (pooled.phase == Phase::kReady) {
    serve(connection);
  }
  // A stream that has ended may make room for a connection.
  attend();
}

void ConnectionPool::onDraining(ClientConnection& connection) {
  find(connection).phase = Phase::kDraining;
  attend();
}

void ConnectionPool::onConnectionClosed(ClientConnection& connection, net::CloseReason reason) {
  const bool was_ready = find(connection).phase != Phase::kConnecting;
  const std::string why =
      was_ready ? std::string() : net::describe(reason, connection.connection());
  loop_.destroyLater(remove(connection));
  if (!was_ready) {
    hung_up_ = false;
    if (!shares()) {
      failWaiters(reason, why, 1);
    } else if (count(Phase::kReady) == 0) {
      // All waited for this one.
      failWaiters(reason, why, waiters_.size());
    } else {
      back_off_.onUseless(loop_.now());
    }
  }
  attend();
}

void ConnectionPool::onNotHttp2(ClientConnection& connection, NotHttp2 how) {
  // Who ended in mid-greeting does not do so twice in a row; and what is found out here stays.
  if (how == NotHttp2::kSaid || std::exchange(hung_up_, true)) {
    protocol_ = UpstreamProtocol::kHttp1;
  }
  connection.close();
  loop_.destroyLater(remove(connection));
  attend();
}

bool ConnectionPool::onHttp2Greeting(ClientConnection&) {
  if (settings_.protocol != UpstreamProtocol::kAuto) {
    return false;
  }
  protocol_ = UpstreamProtocol::kHttp2;
  return true;
}

void ConnectionPool::serve(ClientConnection& connection) {
  while (!waiters_.empty() && connection.canOpen()) {
    StreamWaiter& waiter = *waiters_.front();
    forget(waiter);
    back_off_.onUsed();
    waiter.onConnection(connection);
  }
}

void ConnectionPool::forget(StreamWaiter& waiter) {
  std::erase(waiters_, &waiter);
  waiter.pool_ = nullptr;
}

void ConnectionPool::failWaiters(net::CloseReason reason, std::string_view why, std::size_t count) {
  for (std::size_t i = 0; i < count && !waiters_.empty(); ++i) {
    StreamWaiter& waiter = *waiters_.front();
    forget(waiter);
    waiter.onConnectFailed(reason, why);
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
  if (settings_.figures != nullptr) {
    settings_.figures->open.fetch_sub(1, std::memory_order_relaxed);
  }
  return result;
}

std::size_t ConnectionPool::count(Phase phase) const {
  return static_cast<std::size_t>(
      std::ranges::count(connections_, phase, [](const Pooled& pooled) { return pooled.phase; }));
}

std::size_t ConnectionPool::inDoubt() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      connections_, [](const Pooled& pooled) { return pooled.connection->inDoubt(); }));
}

std::size_t ConnectionPool::activeStreams() const {
  std::size_t streams = 0;
  for (const Pooled& pooled : connections_) {
    streams += pooled.connection->activeStreams();
  }
  return streams;
}

bool ConnectionPool::anyStuck() const {
  return std::ranges::any_of(connections_, [](const Pooled& pooled) {
    return pooled.phase == Phase::kReady && pooled.connection->activeStreams() == 0 &&
           !pooled.connection->canOpen();
  });
}

}  // namespace penstock::http
