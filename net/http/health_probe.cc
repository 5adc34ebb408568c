#include "net/http/health_probe.h"

#include <utility>

namespace penstock::http {
namespace {

RequestHead probeHead(const HealthProbe::Settings& settings, const net::Address& address) {
  RequestHead head;
  head.method = "GET";
  head.scheme = settings.tls == nullptr ? "http" : "https";
  head.authority = settings.authority.empty() ? address.toString() : settings.authority;
  head.path = settings.path;
  head.headers.add("user-agent", "penstock");
  return head;
}

}  // namespace

std::string HealthProbe::Answer::describe() const {
  return status != 0 ? "status " + std::to_string(status) : std::string(failure);
}

HealthProbe::HealthProbe(net::EventLoop& loop, const net::Address& address,
                         const Settings& settings, Callback callback)
    : loop_(loop),
      address_(address),
      settings_(settings),
      callback_(std::move(callback)),
      timeout_(loop, [this] { fail("timeout"); }),
      tell_(loop, [this] { tell(); }) {
  // A server that is silent about HTTP/2 must leave time to ask it in HTTP/1.1.
  limits_.preface_timeout = settings.timeout / 2;
  timeout_.armAfter(settings.timeout);
  connect(settings.protocol);
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
  stream_ = &connection.newStream(*this);
  stream_->sendHead(probeHead(settings_, address_), true);
}

void HealthProbe::onConnectionClosed(ClientConnection&, net::CloseReason reason) {
  fail(net::toString(reason));
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
}

void HealthProbe::onData(std::span<const std::uint8_t> data, bool) {
  stream_->consume(data.size());
}

void HealthProbe::onEnd(StreamEnd end) {
  stream_ = nullptr;
  if (end == StreamEnd::kComplete) {
    finish();
  } else {
    fail(toString(end));
  }
}

}  // namespace penstock::http
