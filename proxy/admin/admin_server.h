#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// The operator's door: pages over HTTP/1.1 and HTTP/2, and settings that can be changed by who may
// (see refuseChange). Bound to loopback it answers only requests for a loopback host, so that a web
// page cannot read it through a browser (421 otherwise). Loop thread only.
class AdminServer final : private net::Listener::Handler {
 public:
  static constexpr std::size_t kMaxConnections = 64;
  static constexpr std::size_t kMaxBody = 64 * 1024;

  // socket: listening, as of net::listenOn. The loop outlives this.
  AdminServer(net::EventLoop& loop, net::UniqueFd socket, AdminSources sources);
  // Closes every connection.
  ~AdminServer() override;
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  net::Address address() const { return listener_.address(); }

 private:
  class Connection;
  class Request;

  void onAccept(net::UniqueFd fd, const net::Address& peer) override;
  void onExhausted() override {}
  void onClosed(Connection& connection);
  // The whole answer to a request; nothing if it takes the body for it.
  std::optional<LocalReply> answer(const http::RequestHead& head) const;
  std::optional<LocalReply> answerWriting(const http::RequestHead& head) const;
  LocalReply answerChange(const http::RequestHead& head, std::string_view body) const;

  net::EventLoop& loop_;
  const AdminSources sources_;
  const http::Limits limits_;
  net::Listener listener_;
  const bool loopback_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace penstock::proxy
