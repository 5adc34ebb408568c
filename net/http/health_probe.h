#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/client_connection.h"
#include "net/http/grpc_health.h"
#include "net/http/grpc_message.h"
#include "net/tls.h"

namespace penstock::http {

// Asks one address once, "GET path" or grpc.health.v1's Check, on a connection of its own, and
// tells what came back: the question behind an active health check and behind "is it up yet". Loop
// thread only.
class HealthProbe final : private ClientConnection::Owner, private ResponseHandler {
 public:
  struct Settings {
    UpstreamProtocol protocol = UpstreamProtocol::kAuto;
    const net::TlsContext* tls = nullptr;  // outlives the probe
    std::string path = "/health/ready";
    // The service to ask for by grpc.health.v1 instead, over HTTP/2; empty: the whole server.
    std::optional<std::string> grpc_service = std::nullopt;
    std::string authority = {};  // empty: the address
    Duration timeout = std::chrono::seconds(1);
  };
  struct Answer {
    int status = 0;  // 0: no complete response came, or one of gRPC that does not say SERVING
    // Speaks Penstock's own contract: it answered with x-penstock-sidecar.
    bool is_sidecar = false;
    // kAuto turned out to be HTTP/1.1.
    bool speaks_http1 = false;
    // Why no response came.
    std::string failure;

    bool healthy() const { return status >= 200 && status < 300; }
    // "status 503", "connect failed".
    std::string describe() const;
  };
  using Callback = std::move_only_function<void(const Answer&)>;

  // Calls back once, later than from here; the callback may destroy the probe. Destroying it
  // earlier means that nobody is told.
  HealthProbe(net::EventLoop& loop, const net::Address& address, const Settings& settings,
              Callback callback);
  ~HealthProbe() override;

 private:
  void connect(UpstreamProtocol protocol);
  void fail(std::string_view failure);
  void finish();
  void tell();
  void hangUp();
  void ask(ClientConnection& connection);
  // Turns a complete answer of gRPC into one that is healthy or says why not.
  void judgeGrpc();

  void onReady(ClientConnection& connection) override;
  void onCapacity(ClientConnection&) override {}
  void onDraining(ClientConnection&) override {}
  void onConnectionClosed(ClientConnection& connection, net::CloseReason reason) override;
  void onNotHttp2(ClientConnection& connection, NotHttp2 how) override;

  void onInformational(ResponseHead) override {}
  void onResponseHead(ResponseHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(Headers trailers) override;
  void onSendReady() override {}
  void onEnd(StreamEnd end) override;

  net::EventLoop& loop_;
  const net::Address address_;
  const Settings settings_;
  Limits limits_;
  Callback callback_;
  Answer answer_;
  GrpcMessageReader message_;
  std::optional<GrpcHealth> health_;
  std::string grpc_status_;
  net::Timer timeout_;
  // The callback may destroy the probe, in whose connection's calls this is when it finishes.
  net::Deferred tell_;
  bool finished_ = false;
  bool hung_up_ = false;  // once, on HTTP/2's preface
  std::unique_ptr<ClientConnection> connection_;
  ClientStream* stream_ = nullptr;
};

}  // namespace penstock::http
