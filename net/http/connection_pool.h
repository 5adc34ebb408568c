#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/client_connection.h"
#include "net/http/limits.h"
#include "net/tls.h"

namespace penstock::http {

class ConnectionPool;

// Something that wants to open one stream to a server. Leaves the pool's line when destroyed.
class StreamWaiter {
 public:
  StreamWaiter() = default;
  virtual ~StreamWaiter() { stopWaiting(); }
  StreamWaiter(const StreamWaiter&) = delete;
  StreamWaiter& operator=(const StreamWaiter&) = delete;

  // A connection whose canOpen() is true; the stream is opened in this call.
  virtual void onConnection(ClientConnection& connection) = 0;
  virtual void onConnectFailed(net::CloseReason reason) = 0;

 protected:
  void stopWaiting();

 private:
  friend class ConnectionPool;
  ConnectionPool* pool_ = nullptr;
};

// What a pool is told once; outlives it.
struct PoolSettings {
  UpstreamProtocol protocol = UpstreamProtocol::kAuto;
  const net::TlsContext* tls = nullptr;
  Duration connect_timeout{};
  Duration idle_timeout_http1{};
  Duration idle_timeout_http2{};
  Limits limits;
  net::Connection::Options connection;
};

// Connections to one server. HTTP/2: streams share a connection up to the peer's limit. HTTP/1: one
// request a connection. The number of connections follows those who wait for one, whom somebody
// else bounds. Loop thread only.
class ConnectionPool final : public ClientConnection::Owner {
 public:
  ConnectionPool(net::EventLoop& loop, const net::Address& address, const PoolSettings& settings);
  ~ConnectionPool() override;

  // Answers in this call if a connection is at hand, else later, at most connect_timeout from now.
  void wait(StreamWaiter& waiter);
  // Closes connections that have been idle for too long.
  void closeIdle(TimePoint now);
  bool empty() const { return connections_.empty() && waiters_.empty(); }

  void onReady(ClientConnection& connection) override;
  void onCapacity(ClientConnection& connection) override;
  void onDraining(ClientConnection& connection) override;
  void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) override;
  void onNotHttp2(ClientConnection& connection, NotHttp2 how) override;

 private:
  friend class StreamWaiter;
  struct Pooled {
    std::unique_ptr<ClientConnection> connection;
    bool ready = false;
    bool draining = false;
    TimePoint idle_since;
  };

  void connect();
  void connectForWaiters();
  void serve(Pooled& pooled);
  void forget(StreamWaiter& waiter);
  void failWaiters(net::CloseReason reason, std::size_t count);
  Pooled& find(const ClientConnection& connection);
  std::unique_ptr<ClientConnection> remove(const ClientConnection& connection);
  std::size_t connecting() const;

  net::EventLoop& loop_;
  const net::Address address_;
  const PoolSettings& settings_;
  // What kAuto turned out to be.
  UpstreamProtocol protocol_;
  bool hung_up_ = false;  // the last connection, on HTTP/2's preface
  std::vector<Pooled> connections_;
  std::vector<StreamWaiter*> waiters_;  // in order
};

}  // namespace penstock::http
