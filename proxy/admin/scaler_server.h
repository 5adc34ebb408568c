#pragma once

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"
#include "proxy/local_reply.h"
#include "proxy/scaling/external_scaler.h"

namespace penstock::proxy {

// The port that KEDA asks: an ExternalScaler over gRPC, plain HTTP/2. Streams are told at once, and
// then whenever refresh() finds that their answer has changed. Connections, streams and messages
// are bounded. Loop thread only.
class ScalerServer final : private net::Listener::Handler {
 public:
  static constexpr std::size_t kMaxConnections = 16;
  static constexpr std::uint32_t kMaxStreams = 64;  // per connection
  static constexpr std::size_t kMaxMessageBytes = 64 * 1024;
  // A stream hears an old answer again after so long: KEDA may have failed to act on it.
  static constexpr Duration kRepeat = std::chrono::seconds(30);

  // socket: listening, as of net::listenOn. The loop outlives this.
  ScalerServer(net::EventLoop& loop, net::UniqueFd socket, ExternalScaler scaler);
  // Closes every connection.
  ~ScalerServer() override;
  ScalerServer(const ScalerServer&) = delete;
  ScalerServer& operator=(const ScalerServer&) = delete;

  net::Address address() const { return listener_.address(); }

  // The figures may have changed. To be called about every second, too.
  void refresh();
  // Ends the streams as complete and takes no more, so that KEDA looks for another proxy.
  void drain();

 private:
  class Connection;
  class Call;

  void onAccept(net::UniqueFd fd, const net::Address& peer) override;
  void onExhausted() override {}
  void onClosed(Connection& connection);

  net::EventLoop& loop_;
  const ExternalScaler scaler_;
  const http::Limits limits_;
  bool draining_ = false;
  net::Listener listener_;
  std::unordered_set<Call*> streams_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace penstock::proxy
