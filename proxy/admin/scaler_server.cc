#include "proxy/admin/scaler_server.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "net/connection.h"
#include "net/http/grpc_message.h"

namespace penstock::proxy {
namespace {

constexpr int kOk = 0;
constexpr int kInvalidArgument = 3;
constexpr int kResourceExhausted = 8;
constexpr int kUnimplemented = 12;

http::Limits scalerLimits() {
  http::Limits limits;
  limits.max_streams = ScalerServer::kMaxStreams;
  limits.stream_window = 64 * 1024;
  limits.connection_window = 256 * 1024;
  limits.max_header_bytes = 16 * 1024;
  limits.max_path_bytes = 2 * 1024;
  return limits;
}

}  // namespace

// One call: its message is read, then answered, once or as often as the answer changes.
class ScalerServer::Call final : public http::RequestHandler {
 public:
  Call(ScalerServer& server, Connection& connection, http::ServerStream& stream)
      : server_(server), connection_(connection), stream_(stream), reader_(kMaxMessageBytes) {}

  void onRequestHead(http::RequestHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers) override { answer(); }
  void onSendReady() override {}
  void onEnd(http::StreamEnd) override;

  // For streams: tells what has changed.
  void refresh();
  // For streams: the last word.
  void finish();

 private:
  void read(std::span<const std::uint8_t> data);
  void answer();
  void send(std::string message);
  void refuse(int grpc_status, std::string_view message);
  void reply(LocalReply reply);

  ScalerServer& server_;
  Connection& connection_;
  http::ServerStream& stream_;
  http::GrpcMessageReader reader_;
  std::optional<ExternalScaler::Method> method_;
  std::optional<std::string> request_;
  bool answered_ = false;
  std::string sent_;
  TimePoint sent_at_{};
};

class ScalerServer::Connection final : public http::ServerConnection::Owner {
 public:
  Connection(ScalerServer& server, net::UniqueFd fd, const net::Address& peer) : server_(server) {
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
    auto call = std::make_unique<Call>(server_, *this, stream);
    Call* const handler = call.get();
    calls_.emplace(handler, std::move(call));
    return handler;
  }
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection why, std::string_view detail,
                                   std::string& body) override {
    LocalReply reply = makeLocalReply(reasonOf(why), detail, {}, false, Duration::zero());
    body = std::move(reply.body);
    return std::move(reply.head);
  }
  void onConnectionClosed(http::ServerConnection&) override {
    server_.loop_.destroyLater(std::move(http_));
    server_.onClosed(*this);
  }
  void drain() { http_->drain(); }
  void forget(Call& call) {
    const auto it = calls_.find(&call);
    server_.loop_.destroyLater(std::move(it->second));
    calls_.erase(it);
  }

 private:
  ScalerServer& server_;
  // Before http_, whose streams refer to them until they are closed.
  std::unordered_map<Call*, std::unique_ptr<Call>> calls_;
  std::unique_ptr<http::ServerConnection> http_;
};

void ScalerServer::Call::onRequestHead(http::RequestHead head, bool end_stream) {
  if (head.method != "POST" || !isGrpc(head.headers)) {
    reply(makeLocalReply(Reason::kBadRequest, "this port speaks gRPC only", {}, false,
                         Duration::zero()));
    return;
  }
  method_ = ExternalScaler::method(head.path);
  if (!method_) {
    refuse(kUnimplemented, "there is no method " + head.path);
  } else if (end_stream) {
    answer();
  }
}

void ScalerServer::Call::onData(std::span<const std::uint8_t> data, bool end_stream) {
  stream_.consume(data.size());
  if (!answered_) {
    read(data);
  }
  if (end_stream) {
    answer();
  }
}

void ScalerServer::Call::read(std::span<const std::uint8_t> data) {
  using enum http::GrpcMessageReader::Outcome;
  while (!answered_) {
    switch (reader_.read(data)) {
      case kMore:
        return;
      case kMessage:
        if (request_) {
          refuse(kInvalidArgument, "expected one message");
        }
        request_ = reader_.message();
        break;
      case kCompressed:
        refuse(kUnimplemented, "compressed messages are not taken");
        break;
      case kTooLong:
        refuse(kResourceExhausted, "the message is too long");
        break;
    }
  }
}

void ScalerServer::Call::answer() {
  if (answered_) {
    return;
  }
  if (!request_ || !reader_.atBoundary()) {
    refuse(kInvalidArgument, "expected one message");
    return;
  }
  auto message = server_.scaler_.answer(method_->call, *request_);
  if (!message) {
    refuse(message.error().grpc_status, message.error().message);
    return;
  }
  answered_ = true;
  http::ResponseHead head;
  head.headers.add("content-type", "application/grpc");
  stream_.sendHead(head, false);
  send(std::move(*message));
  if (method_->stream && !server_.draining_) {
    server_.streams_.insert(this);
  } else {
    finish();
  }
}

void ScalerServer::Call::send(std::string message) {
  net::Buffer body;
  http::appendGrpcMessage(body, message);
  stream_.sendData(body, false);
  sent_ = std::move(message);
  sent_at_ = server_.loop_.now();
}

void ScalerServer::Call::refresh() {
  // To a reader that lags behind, only the latest matters.
  if (stream_.unsentBytes() > 0) {
    return;
  }
  auto message = server_.scaler_.answer(method_->call, *request_);
  if (message && (*message != sent_ || server_.loop_.now() - sent_at_ >= kRepeat)) {
    send(std::move(*message));
  }
}

void ScalerServer::Call::finish() {
  http::Headers trailers;
  trailers.add("grpc-status", std::to_string(kOk));
  stream_.sendTrailers(trailers);
}

void ScalerServer::Call::refuse(int grpc_status, std::string_view message) {
  reply(makeGrpcReply(grpc_status, message));
}

void ScalerServer::Call::reply(LocalReply reply) {
  answered_ = true;
  stream_.sendHead(reply.head, reply.body.empty());
  if (!reply.body.empty()) {
    net::Buffer body;
    body.append(reply.body);
    stream_.sendData(body, true);
  }
}

void ScalerServer::Call::onEnd(http::StreamEnd) {
  server_.streams_.erase(this);
  connection_.forget(*this);
}

ScalerServer::ScalerServer(net::EventLoop& loop, net::UniqueFd socket, ExternalScaler scaler)
    : loop_(loop),
      scaler_(std::move(scaler)),
      limits_(scalerLimits()),
      listener_(loop, std::move(socket), *this) {}

ScalerServer::~ScalerServer() = default;

void ScalerServer::refresh() {
  for (Call* call : streams_) {
    call->refresh();
  }
}

void ScalerServer::drain() {
  draining_ = true;
  listener_.close();
  for (Call* call : std::exchange(streams_, {})) {
    call->finish();
  }
  std::vector<Connection*> all;
  for (const auto& [connection, owner] : connections_) {
    all.push_back(connection);
  }
  for (Connection* connection : all) {
    connection->drain();
  }
}

void ScalerServer::onAccept(net::UniqueFd fd, const net::Address& peer) {
  auto connection = std::make_unique<Connection>(*this, std::move(fd), peer);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
  // Who comes next waits in the backlog.
  listener_.setAccepting(connections_.size() < kMaxConnections);
}

void ScalerServer::onClosed(Connection& connection) {
  const auto it = connections_.find(&connection);
  loop_.destroyLater(std::move(it->second));
  connections_.erase(it);
  if (!draining_) {
    listener_.setAccepting(true);
  }
}

}  // namespace penstock::proxy
