#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "proxy/admin/admin_pages.h"
#include "proxy/admin/small_server.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// The operator's door: pages over HTTP/1.1 and HTTP/2, and settings that can be changed by who may
// (see refuseChange). Bound to loopback it answers only requests for a loopback host, so that a web
// page cannot read it through a browser (421 otherwise). Loop thread only.
class AdminServer final : private SmallServer::Owner {
 public:
  static constexpr std::size_t kMaxConnections = 64;
  static constexpr std::size_t kMaxBody = 64 * 1024;

  // socket: listening, as of net::listenOn. The loop outlives this.
  AdminServer(net::EventLoop& loop, net::UniqueFd socket, AdminSources sources);

  net::Address address() const { return server_.address(); }

 private:
  class Request;

  std::unique_ptr<SmallServer::Request> makeRequest(http::ServerStream& stream) override;
  LocalReply reject(Reason reason, std::string_view detail) override;
  LocalReply failed(std::string_view what) override;
  // The whole answer to a request; nothing if it takes the body for it.
  std::optional<LocalReply> answer(const http::RequestHead& head) const;
  std::optional<LocalReply> answerWriting(const http::RequestHead& head) const;
  LocalReply answerChange(const http::RequestHead& head, std::string_view body) const;

  const AdminSources sources_;
  SmallServer server_;
  const bool loopback_;
};

}  // namespace penstock::proxy
