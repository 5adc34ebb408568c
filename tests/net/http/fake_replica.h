#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"

namespace penstock::http {

// A replica on the test's own loop, at a free loopback address, that answers each GET as it is
// told. It keeps its connections to the end of the test.
class FakeReplica final : private net::Listener::Handler {
 public:
  enum class Speaks {
    kHttp2AndHttp1,
    kHttp1Only,  // answers HTTP/2's preface with 400
    kNothing,    // accepts and is silent
    kHttp1Late,  // says nothing to HTTP/2's preface
    kHttp2Late,  // greets the first two connections only when it is asked in HTTP/1.1
  };

  explicit FakeReplica(net::EventLoop& loop, Speaks speaks = Speaks::kHttp2AndHttp1,
                       const net::Address& address = net::Address::loopback(0))
      : loop_(loop),
        speaks_(speaks),
        listener_(new net::Listener(loop, net::listenOn(address, false).value(), *this)) {
    address_ = listener_->address();
  }
  ~FakeReplica() override { hangUp(); }

  const net::Address& address() const { return address_; }
  // From now on nobody can connect.
  void stopListening() { listener_.reset(); }
  // Closes every connection.
  void hangUp() {
    for (Peer& peer : peers_) {
      peer.close();
    }
  }

  int hang_ups = 0;  // so many connections are closed at their first byte
  std::function<void()> before_hang_up;
  int status = 200;
  bool is_sidecar = false;
  bool ends_answer = true;
  int asked = 0;
  int connections = 0;
  std::string last_path;
  std::string last_authority;
  std::optional<http::Protocol> last_protocol;
  std::uint32_t max_streams = 100;  // of HTTP/2 connections to come

 private:
  struct Request final : http::RequestHandler {
    Request(FakeReplica& to, http::ServerStream& its_stream, http::Protocol its_protocol)
        : replica(to), stream(its_stream), protocol(its_protocol) {}
    void onRequestHead(http::RequestHead head, bool) override {
      ++replica.asked;
      replica.last_path = head.path;
      replica.last_authority = head.authority;
      replica.last_protocol = protocol;
      http::ResponseHead response;
      response.status = replica.status;
      if (replica.is_sidecar) {
        response.headers.add("x-penstock-sidecar", "1");
      }
      stream.sendHead(response, replica.ends_answer);
    }
    void onData(std::span<const std::uint8_t>, bool) override {}
    void onTrailers(http::Headers) override {}
    void onSendReady() override {}
    void onEnd(http::StreamEnd) override {}

    FakeReplica& replica;
    http::ServerStream& stream;
    http::Protocol protocol;
  };

  // A connection in HTTP, or one whose bytes are looked at by hand.
  struct Peer final : http::ServerConnection::Owner, net::ConnectionHandler {
    explicit Peer(FakeReplica& to) : replica(to) {}
    void close() {
      if (http != nullptr) {
        http->close();
      }
      if (raw != nullptr) {
        raw->close();
      }
    }

    http::RequestHandler* onStream(http::ServerStream& stream) override {
      requests.push_back(std::make_unique<Request>(replica, stream, http->protocol()));
      return requests.back().get();
    }
    http::ResponseHead rejectRequest(http::ServerConnection::Rejection, std::string_view,
                                     std::string&) override {
      return {};
    }
    void onConnectionClosed(http::ServerConnection&) override {
      replica.loop_.destroyLater(std::move(http));
    }

    void onConnected() override {}
    void onBytes(std::span<const std::uint8_t> bytes) override {
      if (hangs_up) {
        if (replica.before_hang_up) {
          replica.before_hang_up();
        }
        raw->close();
        return;
      }
      const std::string text(bytes.begin(), bytes.end());
      const bool http2 = text.starts_with("PRI");
      if (replica.speaks_ == Speaks::kNothing || (http2 && replica.speaks_ == Speaks::kHttp1Late)) {
        return;
      }
      if (replica.speaks_ == Speaks::kHttp2Late) {
        if (!http2) {
          raw->output().append(std::string_view("\0\0\0\4\0\0\0\0\0", 9));
          raw->flushLater();
        }
        return;
      }
      if (!http2) {
        ++replica.asked;
        replica.last_protocol = http::Protocol::kHttp11;
      }
      raw->output().append("HTTP/1.1 " + std::to_string(http2 ? 400 : replica.status) +
                           " X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      raw->flushLater();
    }
    void onFillOutput(net::Buffer&) override {}
    void onPeerClosed() override { raw->close(); }
    void onClosed(net::CloseReason) override {}

    FakeReplica& replica;
    bool hangs_up = false;
    std::vector<std::unique_ptr<Request>> requests;
    std::unique_ptr<http::ServerConnection> http;
    std::unique_ptr<net::Connection> raw;
  };

  void onAccept(net::UniqueFd fd, const net::Address& peer_address) override {
    ++connections;
    Peer& peer = peers_.emplace_back(*this);
    auto connection = std::make_unique<net::Connection>(loop_, std::move(fd), peer_address, nullptr,
                                                        net::Connection::Options{});
    peer.hangs_up = connections <= hang_ups;
    limits_.max_streams = max_streams;
    const bool http =
        speaks_ == Speaks::kHttp2AndHttp1 || (speaks_ == Speaks::kHttp2Late && connections > 2);
    if (http && !peer.hangs_up) {
      peer.http = http::ServerConnection::make(loop_, std::move(connection), limits_, peer);
    } else {
      peer.raw = std::move(connection);
      peer.raw->start(peer);
    }
  }
  void onExhausted() override {}

  net::EventLoop& loop_;
  const Speaks speaks_;
  http::Limits limits_;
  net::Address address_;
  std::list<Peer> peers_;
  std::unique_ptr<net::Listener> listener_;
};

}  // namespace penstock::http
