#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/client_connection.h"
#include "proxy/cluster/replica.h"
#include "proxy/config/config.h"

namespace penstock::proxy {

class ReplicaPool;

// Something that wants to open one stream to a replica. Leaves the pool's line when destroyed.
class StreamWaiter {
 public:
  StreamWaiter() = default;
  virtual ~StreamWaiter() { stopWaiting(); }
  StreamWaiter(const StreamWaiter&) = delete;
  StreamWaiter& operator=(const StreamWaiter&) = delete;

  // A connection whose canOpen() is true; the stream is opened in this call.
  virtual void onConnection(http::ClientConnection& connection) = 0;
  virtual void onConnectFailed(net::CloseReason reason) = 0;

 protected:
  void stopWaiting();

 private:
  friend class ReplicaPool;
  ReplicaPool* pool_ = nullptr;
};

// What the pools of one cluster have in common.
struct PoolSettings {
  http::UpstreamProtocol protocol = http::UpstreamProtocol::kAuto;
  const net::TlsContext* tls = nullptr;
  Duration connect_timeout{};
  Duration idle_timeout_http1{};
  Duration idle_timeout_http2{};
  http::Limits limits;
  net::Connection::Options connection;
};

// One worker's connections to one replica. HTTP/2: streams share a connection up to the peer's
// limit. HTTP/1: one request a connection. The number of connections follows the slots that the
// admission queue gives out. Loop thread only.
class ReplicaPool final : public http::ClientConnection::Owner {
 public:
  ReplicaPool(net::EventLoop& loop, const net::Address& address, const PoolSettings& settings);
  ~ReplicaPool() override;

  // Answers in this call if a connection is at hand, else later, at most connect_timeout from now.
  void wait(StreamWaiter& waiter);
  // Closes connections that have been idle for too long.
  void closeIdle(TimePoint now);
  bool empty() const { return connections_.empty() && waiters_.empty(); }

  void onReady(http::ClientConnection& connection) override;
  void onCapacity(http::ClientConnection& connection) override;
  void onDraining(http::ClientConnection& connection) override;
  void onConnectionClosed(http::ClientConnection& connection, net::CloseReason reason) override;
  void onNotHttp2(http::ClientConnection& connection) override;

 private:
  friend class StreamWaiter;
  struct Pooled {
    std::unique_ptr<http::ClientConnection> connection;
    bool ready = false;
    bool draining = false;
    TimePoint idle_since;
  };

  void connect();
  void connectForWaiters();
  void serve(Pooled& pooled);
  void forget(StreamWaiter& waiter);
  void failWaiters(net::CloseReason reason, std::size_t count);
  Pooled& find(const http::ClientConnection& connection);
  std::unique_ptr<http::ClientConnection> remove(const http::ClientConnection& connection);
  std::size_t connecting() const;

  net::EventLoop& loop_;
  const net::Address address_;
  const PoolSettings& settings_;
  // What kAuto turned out to be.
  http::UpstreamProtocol protocol_;
  std::vector<Pooled> connections_;
  std::vector<StreamWaiter*> waiters_;  // in order
};

}  // namespace penstock::proxy
