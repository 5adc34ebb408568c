#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <unordered_set>

#include "proxy/admin/small_server.h"
#include "proxy/scaling/external_scaler.h"

namespace penstock::proxy {

// The port that KEDA asks: an ExternalScaler over gRPC, plain HTTP/2. Streams are told at once, and
// then whenever refresh() finds that their answer has changed. Connections, streams and messages
// are bounded. Loop thread only.
class ScalerServer final : private SmallServer::Owner {
 public:
  static constexpr std::size_t kMaxConnections = 16;
  static constexpr std::uint32_t kMaxStreams = 64;  // per connection
  static constexpr std::size_t kMaxMessageBytes = 64 * 1024;
  // A stream hears an old answer again after so long: KEDA may have failed to act on it.
  static constexpr Duration kRepeat = std::chrono::seconds(30);

  // socket: listening, as of net::listenOn. The loop outlives this.
  ScalerServer(net::EventLoop& loop, net::UniqueFd socket, ExternalScaler scaler);

  net::Address address() const { return server_.address(); }

  // The figures may have changed. To be called about every second, too.
  void refresh();
  // Ends the streams as complete and takes no more, so that KEDA looks for another proxy.
  void drain();

 private:
  class Call;

  std::unique_ptr<SmallServer::Request> makeRequest(http::ServerStream& stream) override;
  LocalReply reject(Reason reason, std::string_view detail) override;
  LocalReply failed(std::string_view what) override;

  net::EventLoop& loop_;
  const ExternalScaler scaler_;
  bool draining_ = false;
  std::unordered_set<Call*> streams_;
  // Last: its requests refer to what is above until they are closed.
  SmallServer server_;
};

}  // namespace penstock::proxy
