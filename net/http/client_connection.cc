#include "net/http/client_connection.h"

#include <cstdint>
#include <span>
#include <utility>

#include "base/check.h"
#include "net/http/codec.h"
#include "net/http/http1_connections.h"
#include "net/http/http2_connections.h"

namespace penstock::http {
namespace {

// A TLS connection whose protocol is what ALPN says. It stays between the connection and the codec,
// and between the codec and the owner, to whom it is the one ClientConnection all along.
class NegotiatedClientConnection final : public ClientConnection,
                                         private ClientConnection::Owner,
                                         private net::ConnectionHandler {
 public:
  NegotiatedClientConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                             const Limits& limits, ClientConnection::Owner& owner)
      : loop_(loop), connection_(std::move(connection)), limits_(limits), owner_(owner) {}

  void start() { connection_->start(*this); }

  bool canOpen() const override { return codec_ != nullptr && codec_->canOpen(); }
  ClientStream& newStream(ResponseHandler& handler) override {
    PENSTOCK_CHECK(codec_ != nullptr, "a stream is opened only when canOpen()");
    return codec_->newStream(handler);
  }
  std::size_t activeStreams() const override {
    return codec_ != nullptr ? codec_->activeStreams() : 0;
  }
  bool inDoubt() const override { return codec_ != nullptr && codec_->inDoubt(); }
  bool takesWebSockets() const override { return codec_ != nullptr && codec_->takesWebSockets(); }
  void close() override {
    if (codec_ != nullptr) {
      codec_->close();
    } else {
      connection_->close();
    }
  }
  Protocol protocol() const override {
    return codec_ != nullptr ? codec_->protocol() : Protocol::kHttp11;
  }
  const net::Connection& connection() const override {
    return codec_ != nullptr ? codec_->connection() : *connection_;
  }

 private:
  // ClientConnection::Owner
  void onReady(ClientConnection&) override { owner_.onReady(*this); }
  void onCapacity(ClientConnection&) override { owner_.onCapacity(*this); }
  void onDraining(ClientConnection&) override { owner_.onDraining(*this); }
  void onConnectionClosed(ClientConnection&, net::CloseReason reason) override {
    owner_.onConnectionClosed(*this, reason);
  }
  void onNotHttp2(ClientConnection&, NotHttp2 how) override { owner_.onNotHttp2(*this, how); }
  bool onHttp2Greeting(ClientConnection&) override { return owner_.onHttp2Greeting(*this); }

  // net::ConnectionHandler
  void onConnected() override {
    const bool http2 = connection_->alpn() == "h2";
    codec_ = http2 ? makeHttp2ClientConnection(loop_, std::move(connection_), false, limits_, *this)
                   : makeHttp1Client(loop_, std::move(connection_), limits_, *this);
    codec_->onConnected();
  }
  void onBytes(std::span<const std::uint8_t> bytes) override { codec_->onBytes(bytes); }
  void onFillOutput(net::Buffer& output) override { codec_->onFillOutput(output); }
  void onPeerClosed() override { codec_->onPeerClosed(); }
  void onClosed(net::CloseReason reason) override {
    if (codec_ != nullptr) {
      codec_->onClosed(reason);
    } else {
      owner_.onConnectionClosed(*this, reason);
    }
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::Connection> connection_;  // until the codec has it
  const Limits& limits_;
  ClientConnection::Owner& owner_;
  std::unique_ptr<ClientCodec> codec_;
};

}  // namespace

std::unique_ptr<ClientConnection> ClientConnection::make(
    net::EventLoop& loop, std::unique_ptr<net::Connection> connection, UpstreamProtocol protocol,
    const Limits& limits, Owner& owner) {
  net::Connection& started = *connection;
  const bool detect = protocol == UpstreamProtocol::kAuto;
  if (detect && connection->isTls()) {
    auto made =
        std::make_unique<NegotiatedClientConnection>(loop, std::move(connection), limits, owner);
    made->start();
    return made;
  }
  std::unique_ptr<ClientCodec> codec =
      protocol == UpstreamProtocol::kHttp1
          ? makeHttp1Client(loop, std::move(connection), limits, owner)
          : makeHttp2ClientConnection(loop, std::move(connection), detect, limits, owner);
  started.start(*codec);
  return codec;
}

}  // namespace penstock::http
