#include "proxy/admin/admin_server.h"

#include <span>
#include <utility>

#include "net/connection.h"
#include "proxy/admin/host_check.h"

namespace penstock::proxy {
namespace {

http::Limits adminLimits() {
  http::Limits limits;
  limits.max_streams = 16;
  limits.stream_window = 64 * 1024;
  limits.connection_window = 128 * 1024;
  limits.max_header_bytes = 16 * 1024;
  limits.max_path_bytes = 2 * 1024;
  return limits;
}

LocalReply refusal(Reason reason, std::string_view detail) {
  LocalReply reply = makeLocalReply(reason, detail, {}, false, Duration::zero());
  if (reason == Reason::kMethodNotAllowed) {
    reply.head.headers.set("allow", "GET, HEAD");
  }
  return reply;
}

}  // namespace

// One request: answered as soon as its head is there; a body is read and forgotten.
class AdminServer::Request final : public http::RequestHandler {
 public:
  Request(AdminServer& server, Connection& connection, http::ServerStream& stream)
      : server_(server), connection_(connection), stream_(stream) {}

  void onRequestHead(http::RequestHead head, bool) override {
    const LocalReply reply = server_.answer(head);
    const bool without_body = head.method == "HEAD" || reply.body.empty();
    stream_.sendHead(reply.head, without_body);
    if (!without_body) {
      net::Buffer body;
      body.append(reply.body);
      stream_.sendData(body, true);
    }
  }
  void onData(std::span<const std::uint8_t> data, bool) override { stream_.consume(data.size()); }
  void onTrailers(http::Headers) override {}
  void onSendReady() override {}
  void onEnd(http::StreamEnd) override;

 private:
  AdminServer& server_;
  Connection& connection_;
  http::ServerStream& stream_;
};

class AdminServer::Connection final : public http::ServerConnection::Owner {
 public:
  Connection(AdminServer& server, net::UniqueFd fd, const net::Address& peer) : server_(server) {
    auto transport = std::make_unique<net::Connection>(server.loop_, std::move(fd), peer, nullptr,
                                                       net::Connection::Options{});
    http_ = http::ServerConnection::make(server.loop_, std::move(transport), server.limits_, *this);
  }
  ~Connection() override {
    if (http_ != nullptr) {
      http_->close();
      server_.loop_.destroyLater(std::move(http_));
    }
  }

  http::RequestHandler* onStream(http::ServerStream& stream) override {
    auto request = std::make_unique<Request>(server_, *this, stream);
    Request* const handler = request.get();
    requests_.emplace(handler, std::move(request));
    return handler;
  }
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override {
    LocalReply reply = refusal(reasonOf(why), detail);
    body = std::move(reply.body);
    return std::move(reply.head);
  }
  void onConnectionClosed(http::ServerConnection&) override {
    server_.loop_.destroyLater(std::move(http_));
    server_.onClosed(*this);
  }
  void forget(Request& request) {
    const auto it = requests_.find(&request);
    server_.loop_.destroyLater(std::move(it->second));
    requests_.erase(it);
  }

 private:
  AdminServer& server_;
  // Before http_, whose streams refer to them until they are closed.
  std::unordered_map<Request*, std::unique_ptr<Request>> requests_;
  std::unique_ptr<http::ServerConnection> http_;
};

void AdminServer::Request::onEnd(http::StreamEnd) {
  connection_.forget(*this);
}

AdminServer::AdminServer(net::EventLoop& loop, net::UniqueFd socket, AdminSources sources)
    : loop_(loop),
      sources_(std::move(sources)),
      limits_(adminLimits()),
      listener_(loop, std::move(socket), *this),
      loopback_(listener_.address().isLoopback()) {}

AdminServer::~AdminServer() = default;

void AdminServer::onAccept(net::UniqueFd fd, const net::Address& peer) {
  auto connection = std::make_unique<Connection>(*this, std::move(fd), peer);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
  // Who comes next waits in the backlog.
  listener_.setAccepting(connections_.size() < kMaxConnections);
}

void AdminServer::onClosed(Connection& connection) {
  const auto it = connections_.find(&connection);
  loop_.destroyLater(std::move(it->second));
  connections_.erase(it);
  listener_.setAccepting(true);
}

LocalReply AdminServer::answer(const http::RequestHead& head) const {
  // Only HTTP/1.0 may come without a host, which a browser never does.
  if (loopback_ && !head.authority.empty() && !isLoopbackAuthority(head.authority)) {
    return refusal(Reason::kMisdirected, "the admin port is for localhost");
  }
  if (head.method != "GET" && head.method != "HEAD") {
    return refusal(Reason::kMethodNotAllowed, {});
  }
  AdminPage page = adminPage(sources_, std::string_view(head.path).substr(0, head.path.find('?')));
  if (page.status == 404) {
    return refusal(Reason::kNotFound, "no such page; / lists them");
  }
  LocalReply reply;
  reply.head.status = page.status;
  reply.head.content_length = page.body.size();
  reply.head.headers.add("content-type", page.content_type);
  reply.head.headers.add("cache-control", "no-store");
  reply.head.headers.add("x-content-type-options", "nosniff");
  reply.body = std::move(page.body);
  return reply;
}

}  // namespace penstock::proxy
