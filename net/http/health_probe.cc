#include "net/http/health_probe.h"

#include <utility>

#include "net/http/grpc.h"

namespace penstock::http {
namespace {

// A HealthCheckResponse has two bytes; some room for what later versions add.
constexpr std::size_t kMaxGrpcMessage = 1024;

RequestHead probeHead(const HealthProbe::Settings& settings, const net::Address& address) {
  RequestHead head;
  head.method = "GET";
  head.scheme = settings.tls == nullptr ? "http" : "https";
  head.authority = settings.authority.empty() ? address.toString() : settings.authority;
  head.path = settings.path;
  head.headers.add("user-agent", "penstock");
  if (settings.grpc_service.has_value()) {
    head.method = "POST";
    head.path = kGrpcHealthCheckPath;
    head.headers.add("content-type", kGrpcContentType);
    head.headers.add("te", "trailers");
  }
  return head;
}

}  // namespace

std::string HealthProbe::Answer::describe() const {
  return status != 0 ? "status " + std::to_string(status) : failure;
}

HealthProbe::HealthProbe(net::EventLoop& loop, const net::Address& address,
                         const Settings& settings, Callback callback)
    : loop_(loop),
      address_(address),
      settings_(settings),
      callback_(std::move(callback)),
      message_(kMaxGrpcMessage),
      timeout_(loop, [this] { fail("timeout"); }),
      tell_(loop, [this] { tell(); }) {
  // A server that is silent about HTTP/2 must leave time to ask it in HTTP/1.1.
  limits_.preface_timeout = settings.timeout / 2;
  timeout_.armAfter(settings.timeout);
  connect(settings.grpc_service.has_value() ? UpstreamProtocol::kHttp2 : settings.protocol);
}

HealthProbe::~HealthProbe() {
  hangUp();
}

void HealthProbe::connect(UpstreamProtocol protocol) {
  auto connection = net::Connection::connect(
      loop_, address_, settings_.tls, Deadline::after(loop_.now(), settings_.timeout),
      {.write_timeout = settings_.timeout, .handshake_timeout = settings_.timeout});
  connection_ = ClientConnection::make(loop_, std::move(connection), protocol, limits_, *this);
}

void HealthProbe::fail(std::string_view failure) {
  if (finished_) {
    return;
  }
  answer_.status = 0;
  answer_.failure = failure;
  finish();
}

void HealthProbe::finish() {
  finished_ = true;
  hangUp();
  tell_.schedule();
}

void HealthProbe::tell() {
  const Answer answer = answer_;
  Callback callback = std::move(callback_);
  callback(answer);
}

void HealthProbe::hangUp() {
  timeout_.disarm();
  if (ClientStream* stream = std::exchange(stream_, nullptr)) {
    stream->reset(ResetReason::kCancel);
  }
  if (connection_ != nullptr) {
    connection_->close();
    loop_.destroyLater(std::move(connection_));
  }
}

void HealthProbe::onReady(ClientConnection& connection) {
  if (!connection.canOpen()) {
    fail("no stream is allowed");
    return;
  }
  ask(connection);
}

void HealthProbe::ask(ClientConnection& connection) {
  stream_ = &connection.newStream(*this);
  stream_->sendHead(probeHead(settings_, address_), !settings_.grpc_service.has_value());
  if (settings_.grpc_service.has_value()) {
    net::Buffer body;
    appendGrpcMessage(body, grpcHealthRequest(*settings_.grpc_service));
    stream_->sendData(body, true);
  }
}

void HealthProbe::onConnectionClosed(ClientConnection& connection, net::CloseReason reason) {
  fail(net::describe(reason, connection.connection()));
}

void HealthProbe::onNotHttp2(ClientConnection&, NotHttp2 how) {
  loop_.destroyLater(std::move(connection_));
  if (how == NotHttp2::kHungUp && !std::exchange(hung_up_, true)) {
    connect(settings_.protocol);
    return;
  }
  answer_.speaks_http1 = true;
  connect(UpstreamProtocol::kHttp1);
}

void HealthProbe::onResponseHead(ResponseHead head, bool) {
  answer_.status = head.status;
  answer_.is_sidecar = head.headers.get("x-penstock-sidecar") == "1";
  grpc_status_ = head.headers.get("grpc-status").value_or("");
}

void HealthProbe::onData(std::span<const std::uint8_t> data, bool) {
  stream_->consume(data.size());
  if (settings_.grpc_service.has_value() && !health_.has_value() &&
      message_.read(data) == GrpcMessageReader::Outcome::kMessage) {
    health_ = readGrpcHealthResponse(message_.message());
  }
}

void HealthProbe::onTrailers(Headers trailers) {
  grpc_status_ = trailers.get("grpc-status").value_or("");
}

void HealthProbe::judgeGrpc() {
  const bool ok = answer_.status == 200 && grpc_status_ == "0";
  if (ok && health_ == GrpcHealth::kServing) {
    return;
  }
  if (answer_.status != 200) {
    answer_.failure = "status " + std::to_string(answer_.status);
  } else if (!ok) {
    answer_.failure = "grpc-status " + (grpc_status_.empty() ? "missing" : grpc_status_);
  } else {
    answer_.failure = health_.has_value() ? toString(*health_) : "no HealthCheckResponse";
  }
  answer_.status = 0;
}

void HealthProbe::onEnd(StreamEnd end) {
  stream_ = nullptr;
  if (end == StreamEnd::kComplete) {
    if (settings_.grpc_service.has_value()) {
      judgeGrpc();
    }
    finish();
  } else {
    fail(toString(end));
  }
}

}  // namespace penstock::http
