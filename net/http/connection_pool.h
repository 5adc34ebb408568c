#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/client_connection.h"
#include "net/http/connect_back_off.h"
#include "net/http/limits.h"
#include "net/http/pool_figures.h"
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
  // why: for a person, valid during the call.
  virtual void onConnectFailed(net::CloseReason reason, std::string_view why) = 0;
  // The server can be connected to, but has allowed no stream for PoolSettings::stream_timeout.
  virtual void onNoStream() = 0;

 protected:
  void stopWaiting();

 private:
  friend class ConnectionPool;
  ConnectionPool* pool_ = nullptr;
  TimePoint since_{};
};

// Settings of a pool, which they outlive.
struct PoolSettings {
  UpstreamProtocol protocol = UpstreamProtocol::kAuto;
  const net::TlsContext* tls = nullptr;
  Duration connect_timeout{};
  // How long a stream is waited for once there is a connection.
  Duration stream_timeout{};
  // The most connections. 0: as many as its waiters and streams need.
  std::size_t max_connections = 0;
  PoolFigures* figures = nullptr;  // may be null; outlives the pool
  Duration idle_timeout_http1{};
  Duration idle_timeout_http2{};
  Limits limits;
  net::Connection::Options connection;
};

// Connections to one server. HTTP/2: streams share a connection up to the peer's limit; there are
// two connections, and more only while the streams of all are used up. HTTP/1: one request a
// connection. There are never more than the streams in use and those waited for, whose number
// somebody else bounds. After a connection that was of no use, the next one begins after a pause.
// Loop thread only.
class ConnectionPool final : public ClientConnection::Owner {
 public:
  ConnectionPool(net::EventLoop& loop, const net::Address& address, const PoolSettings& settings);
  ~ConnectionPool() override;

  // Answers in this call if a connection is at hand, else later, at most connect_timeout (and what
  // the protocol's handshake takes) and stream_timeout from now.
  void wait(StreamWaiter& waiter);
  // Closes connections that have been idle for too long.
  void closeIdle(TimePoint now);
  bool empty() const { return connections_.empty() && waiters_.empty(); }

  void onReady(ClientConnection& connection) override;
  void onCapacity(ClientConnection& connection) override;
  void onDraining(ClientConnection& connection) override;
  void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) override;
  void onNotHttp2(ClientConnection& connection, NotHttp2 how) override;
  bool onHttp2Greeting(ClientConnection& connection) override;

 private:
  friend class StreamWaiter;
  enum class Phase { kConnecting, kReady, kDraining };
  struct Pooled {
    std::unique_ptr<ClientConnection> connection;
    Phase phase = Phase::kConnecting;
    TimePoint idle_since;
  };

  void connect();
  bool mayConnect() const;
  // Connects for those who wait, as far as allowed, gives up those who have waited for too long,
  // and arms the timer for the next of both.
  void attend();
  void giveUpOverdue();
  TimePoint overdueAt(const StreamWaiter& waiter) const;
  void serve(ClientConnection& connection);
  void forget(StreamWaiter& waiter);
  void failWaiters(net::CloseReason reason, std::string_view why, std::size_t count);
  Pooled& find(const ClientConnection& connection);
  std::unique_ptr<ClientConnection> remove(const ClientConnection& connection);
  std::size_t count(Phase phase) const;
  // Connections that have to show that they live; they may serve a waiter as soon as one that is
  // made.
  std::size_t inDoubt() const;
  std::size_t activeStreams() const;
  // Whether a ready connection has no stream and allows none.
  bool anyStuck() const;
  // Streams may share a connection, as far as is known.
  bool shares() const { return protocol_ != UpstreamProtocol::kHttp1; }

  net::EventLoop& loop_;
  const net::Address address_;
  const PoolSettings& settings_;
  // What kAuto turned out to be.
  UpstreamProtocol protocol_;
  bool hung_up_ = false;  // the last connection, on HTTP/2's preface
  std::vector<Pooled> connections_;
  std::vector<StreamWaiter*> waiters_;  // in order
  // Since when those who wait wait for a stream, and not for a connection.
  std::optional<TimePoint> connected_since_;
  ConnectBackOff back_off_;
  net::Timer timer_;
};

}  // namespace penstock::http
