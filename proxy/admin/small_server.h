#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// HTTP for a few clients at a time: a port of the operator's. Holds the connections, up to a bound
// beyond which newcomers wait in the backlog until others close or, having had no request for a
// second, make room; and the requests until they have ended. Loop thread only.
class SmallServer final : private net::Listener::Handler {
 public:
  // One request, of the owner's making. Destroyed at the end of the turn in which it ends.
  class Request : public http::RequestHandler {
   public:
    void onSendReady() override {}
    void onEnd(http::StreamEnd) final;

   protected:
    // It has ended; the stream must not be touched any more.
    virtual void onEnded() {}

   private:
    friend class SmallServer;
    class Holder {
     public:
      virtual void forget(Request& request) = 0;

     protected:
      ~Holder() = default;
    };
    Holder* holder_ = nullptr;
  };

  class Owner {
   public:
    virtual std::unique_ptr<Request> makeRequest(http::ServerStream& stream) = 0;
    // What to say to a request that did not get as far as that.
    virtual LocalReply reject(Reason reason, std::string_view detail) = 0;

   protected:
    ~Owner() = default;
  };

  // socket: listening, as of net::listenOn. Loop and owner outlive this.
  SmallServer(net::EventLoop& loop, net::UniqueFd socket, const http::Limits& limits,
              std::size_t max_connections, Owner& owner);
  // Closes every connection.
  ~SmallServer() override;
  SmallServer(const SmallServer&) = delete;
  SmallServer& operator=(const SmallServer&) = delete;

  net::Address address() const { return listener_.address(); }
  // Takes no more connections, and ends each when its requests have ended.
  void drain();

 private:
  class Connection;

  void onAccept(net::UniqueFd fd, const net::Address& peer) override;
  void onExhausted() override { makeRoom(); }
  void onClosed(Connection& connection);
  void makeRoom();
  bool full() const { return connections_.size() >= max_connections_; }
  std::vector<Connection*> all() const;

  net::EventLoop& loop_;
  const http::Limits limits_;
  const std::size_t max_connections_;
  Owner& owner_;
  bool draining_ = false;
  net::Listener listener_;
  net::Timer make_room_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

// Sends a whole answer. head_only: to a HEAD request.
void sendReply(http::ServerStream& stream, const LocalReply& reply, bool head_only = false);

}  // namespace penstock::proxy
