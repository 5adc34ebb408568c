#include "proxy/admin/admin_server.h"

#include <span>
#include <utility>

#include <fmt/format.h>

#include "proxy/admin/change_access.h"
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

constexpr std::string_view kReads = "GET, HEAD";
constexpr std::string_view kReadsAndChanges = "GET, HEAD, PATCH";

LocalReply refusal(Reason reason, std::string_view detail, std::string_view allowed = kReads) {
  LocalReply reply = makeLocalReply(reason, detail, {}, false, Duration::zero());
  if (reason == Reason::kMethodNotAllowed) {
    reply.head.headers.set("allow", allowed);
  }
  return reply;
}

LocalReply replyOf(AdminPage page) {
  LocalReply reply;
  reply.head.status = page.status;
  reply.head.content_length = page.body.size();
  reply.head.headers.add("content-type", page.content_type);
  reply.head.headers.add("cache-control", "no-store");
  reply.head.headers.add("x-content-type-options", "nosniff");
  if (page.status == 401) {
    reply.head.headers.add("www-authenticate", "Bearer");
  }
  reply.body = std::move(page.body);
  return reply;
}

std::string_view pathOf(const http::RequestHead& head) {
  return std::string_view(head.path).substr(0, head.path.find('?'));
}

}  // namespace

// One request: answered as soon as its head is there, or, if it is a change that may be made, its
// body. Any other body is read and forgotten.
class AdminServer::Request final : public SmallServer::Request {
 public:
  Request(AdminServer& server, http::ServerStream& stream)
      : SmallServer::Request(stream), server_(server) {}

 private:
  void onHead(http::RequestHead head) override {
    if (const auto reply = server_.answer(head)) {
      this->reply(*reply, head.method == "HEAD");
      return;
    }
    change_ = std::move(head);
    stream().sendContinue();
  }
  void onBody(std::span<const std::uint8_t> data) override {
    if (data.size() > kMaxBody - body_.size()) {
      reply(refusal(Reason::kPayloadTooLarge, {}));
      return;
    }
    body_.append(data.begin(), data.end());
  }
  void onComplete() override { reply(server_.answerChange(change_, body_)); }

  AdminServer& server_;
  http::RequestHead change_;
  std::string body_;
};

AdminServer::AdminServer(net::EventLoop& loop, net::UniqueFd socket, AdminSources sources)
    : sources_(std::move(sources)),
      server_(loop, std::move(socket), adminLimits(), kMaxConnections, *this),
      loopback_(server_.address().isLoopback()) {}

std::unique_ptr<SmallServer::Request> AdminServer::makeRequest(http::ServerStream& stream) {
  return std::make_unique<Request>(*this, stream);
}

LocalReply AdminServer::reject(Reason reason, std::string_view detail) {
  return refusal(reason, detail);
}

LocalReply AdminServer::failed(std::string_view what) {
  return replyOf(errorPage(500, fmt::format("a defect of the proxy: {}", what)));
}

std::optional<LocalReply> AdminServer::answer(const http::RequestHead& head) const {
  // Only HTTP/1.0 may come without a host, which a browser never does.
  if (loopback_ && !head.authority.empty() && !isLoopbackAuthority(head.authority)) {
    return refusal(Reason::kMisdirected, "the admin port is for localhost");
  }
  const auto cluster = settingsPath(pathOf(head));
  const bool reads = head.method == "GET" || head.method == "HEAD";
  if (!reads && !cluster) {
    return refusal(Reason::kMethodNotAllowed, {});
  }
  if (!reads && sources_.settings(*cluster)) {
    return answerWriting(head);
  }
  AdminPage page = adminPage(sources_, pathOf(head));
  if (page.status == 404) {
    return refusal(Reason::kNotFound, cluster ? "no such cluster" : "no such page; / lists them");
  }
  return replyOf(std::move(page));
}

// A method that does not only read, on settings that exist.
std::optional<LocalReply> AdminServer::answerWriting(const http::RequestHead& head) const {
  if (head.method != "PATCH") {
    return refusal(Reason::kMethodNotAllowed, {}, kReadsAndChanges);
  }
  if (auto page = refuseChange(head, loopback_, sources_.token())) {
    return replyOf(std::move(*page));
  }
  if (head.content_length.value_or(0) > kMaxBody) {
    return refusal(Reason::kPayloadTooLarge, {});
  }
  return std::nullopt;
}

LocalReply AdminServer::answerChange(const http::RequestHead& head, std::string_view body) const {
  return replyOf(changeSettings(sources_, *settingsPath(pathOf(head)), body));
}

}  // namespace penstock::proxy
