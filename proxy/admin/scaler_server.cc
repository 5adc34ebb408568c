#include "proxy/admin/scaler_server.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "net/http/grpc_message.h"

namespace penstock::proxy {
namespace {

using enum http::GrpcStatus;

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
class ScalerServer::Call final : public SmallServer::Request {
 public:
  Call(ScalerServer& server, http::ServerStream& stream)
      : SmallServer::Request(stream), server_(server), reader_(kMaxMessageBytes) {}

  // For streams: tells what has changed.
  void refresh();
  // For streams: the last word.
  void finish();

 private:
  void onHead(http::RequestHead head) override;
  void onBody(std::span<const std::uint8_t> data) override { read(data); }
  void onComplete() override;
  void onEnded() override { server_.streams_.erase(this); }

  void read(std::span<const std::uint8_t> data);
  void send(std::string message);
  void sendIfChanged();
  void refuse(http::GrpcStatus status, std::string_view message);

  ScalerServer& server_;
  http::GrpcMessageReader reader_;
  std::optional<ExternalScaler::Method> method_;
  std::optional<std::string> request_;
  std::string sent_;
  TimePoint sent_at_{};
};

void ScalerServer::Call::onHead(http::RequestHead head) {
  if (head.method != "POST" || !http::isGrpc(head.headers)) {
    reply(server_.reject(Reason::kBadRequest, "this port speaks gRPC only"));
    return;
  }
  method_ = ExternalScaler::method(head.path);
  if (!method_) {
    refuse(kUnimplemented, "there is no method " + head.path);
  }
}

void ScalerServer::Call::read(std::span<const std::uint8_t> data) {
  using enum http::GrpcMessageReader::Outcome;
  while (!answered()) {
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

void ScalerServer::Call::onComplete() {
  if (!request_ || !reader_.atBoundary()) {
    refuse(kInvalidArgument, "expected one message");
    return;
  }
  auto message = server_.scaler_.answer(method_->call, *request_);
  if (!message) {
    refuse(message.error().grpc_status, message.error().message);
    return;
  }
  http::ResponseHead head;
  head.headers.add("content-type", http::kGrpcContentType);
  beginStream(head);
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
  stream().sendData(body, false);
  sent_ = std::move(message);
  sent_at_ = server_.loop_.now();
}

void ScalerServer::Call::refresh() {
  guard([this] { sendIfChanged(); });
}

void ScalerServer::Call::sendIfChanged() {
  // To a reader that lags behind, only the latest matters.
  if (stream().unsentBytes() > 0) {
    return;
  }
  auto message = server_.scaler_.answer(method_->call, *request_);
  if (message && (*message != sent_ || server_.loop_.now() - sent_at_ >= kRepeat)) {
    send(std::move(*message));
  }
}

void ScalerServer::Call::finish() {
  http::Headers trailers;
  http::addGrpcStatus(trailers, kOk);
  stream().sendTrailers(trailers);
}

void ScalerServer::Call::refuse(http::GrpcStatus status, std::string_view message) {
  reply(makeGrpcReply(status, message));
}

ScalerServer::ScalerServer(net::EventLoop& loop, net::UniqueFd socket, ExternalScaler scaler)
    : loop_(loop),
      scaler_(std::move(scaler)),
      server_(loop, std::move(socket), scalerLimits(), kMaxConnections, *this) {}

std::unique_ptr<SmallServer::Request> ScalerServer::makeRequest(http::ServerStream& stream) {
  return std::make_unique<Call>(*this, stream);
}

LocalReply ScalerServer::reject(Reason reason, std::string_view detail) {
  return makeLocalReply(reason, detail, {}, false, Duration::zero());
}

LocalReply ScalerServer::failed(std::string_view what) {
  return makeGrpcReply(kInternal, fmt::format("a defect of the proxy: {}", what));
}

void ScalerServer::refresh() {
  const std::vector<Call*> streams(streams_.begin(),
                                   streams_.end());  // a failed one leaves the set
  for (Call* call : streams) {
    call->refresh();
  }
}

void ScalerServer::drain() {
  draining_ = true;
  for (Call* call : std::exchange(streams_, {})) {
    call->finish();
  }
  server_.drain();
}

}  // namespace penstock::proxy
