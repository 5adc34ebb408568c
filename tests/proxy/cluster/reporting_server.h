#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/event_loop.h"
#include "net/http/grpc_message.h"
#include "net/http/server_connection.h"
#include "net/listener.h"

namespace penstock::proxy {

// A replica on the test's own loop that is asked for its load reports and answers what the test
// says. It keeps its connections to the end of the test, whoever hangs up.
class ReportingServer final : private net::Listener::Handler {
 public:
  struct Subscriber final : http::RequestHandler {
    explicit Subscriber(http::ServerStream& its_stream) : stream(&its_stream) {}
    void onRequestHead(http::RequestHead its_head, bool) override { head = std::move(its_head); }
    void onData(std::span<const std::uint8_t> data, bool end_stream) override {
      request.append(data.begin(), data.end());
      asked = asked || end_stream;
    }
    void onTrailers(http::Headers) override {}
    void onSendReady() override {}
    void onEnd(http::StreamEnd) override {
      stream = nullptr;
      gone = true;
    }

    void accept(std::string_view content_type = "application/grpc") {
      http::ResponseHead response;
      response.status = 200;
      response.headers.add("content-type", content_type);
      stream->sendHead(response, false);
    }
    void refuse(int status, std::string_view grpc_status = {}) {
      http::ResponseHead response;
      response.status = status;
      response.headers.add("content-type", "application/grpc");
      if (!grpc_status.empty()) {
        response.headers.add("grpc-status", grpc_status);
      }
      stream->sendHead(response, true);
    }
    void sendMessage(std::string_view message) {
      net::Buffer body;
      http::appendGrpcMessage(body, message);
      stream->sendData(body, false);
    }
    void sendBytes(std::string_view bytes, bool end_stream = false) {
      net::Buffer body;
      body.append(bytes);
      stream->sendData(body, end_stream);
    }
    void finish(std::string_view grpc_status) {
      http::Headers trailers;
      trailers.add("grpc-status", grpc_status);
      stream->sendTrailers(trailers);
    }

    http::ServerStream* stream;
    http::RequestHead head;
    std::string request;
    bool asked = false;  // in full
    bool gone = false;
  };

  explicit ReportingServer(net::EventLoop& loop)
      : loop_(loop),
        listener_(loop, net::listenOn(net::Address::loopback(0), false).value(), *this) {}
  ~ReportingServer() override {
    for (Peer& peer : peers_) {
      peer.hangUp();
    }
  }

  net::Address address() const { return listener_.address(); }
  // In the order in which they came.
  std::size_t subscriptions() const { return subscribers_.size(); }
  Subscriber& subscriber(std::size_t index) { return *subscribers_[index]; }
  bool asked(std::size_t index) const {
    return index < subscribers_.size() && subscribers_[index]->asked;
  }
  void hangUp() {
    for (Peer& peer : peers_) {
      peer.hangUp();
    }
  }

 private:
  struct Peer final : http::ServerConnection::Owner {
    explicit Peer(ReportingServer& to) : server(to) {}
    http::RequestHandler* onStream(http::ServerStream& stream) override {
      server.subscribers_.push_back(std::make_unique<Subscriber>(stream));
      return server.subscribers_.back().get();
    }
    http::ResponseHead rejectRequest(http::ServerConnection::Rejection, std::string_view,
                                     std::string&) override {
      return {};
    }
    void onConnectionClosed(http::ServerConnection&) override {
      server.loop_.destroyLater(std::move(connection));
    }
    void hangUp() {
      if (connection != nullptr) {
        connection->close();
        server.loop_.destroyLater(std::move(connection));
      }
    }

    ReportingServer& server;
    std::unique_ptr<http::ServerConnection> connection;
  };

  void onAccept(net::UniqueFd fd, const net::Address& peer_address) override {
    Peer& peer = peers_.emplace_back(*this);
    peer.connection = http::ServerConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(fd), peer_address, nullptr,
                                          net::Connection::Options{}),
        limits_, peer);
  }
  void onExhausted() override {}

  net::EventLoop& loop_;
  http::Limits limits_;
  std::list<Peer> peers_;
  std::vector<std::unique_ptr<Subscriber>> subscribers_;
  net::Listener listener_;
};

}  // namespace penstock::proxy
