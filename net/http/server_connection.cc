#include "net/http/server_connection.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "net/http/codec.h"
#include "net/http/http1_connections.h"
#include "net/http/http2_connections.h"

namespace penstock::http {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// A connection whose protocol is found out: under TLS by ALPN, else by its first bytes, which
// either are HTTP/2's preface or are not. It stays between the connection and the chosen codec, and
// between the codec and the owner, to whom it is the one ServerConnection all along.
class NegotiatedServerConnection final : public ServerConnection,
                                         private ServerConnection::Owner,
                                         private net::ConnectionHandler {
 public:
  NegotiatedServerConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                             const Limits& limits, ServerConnection::Owner& owner)
      : loop_(loop),
        connection_(std::move(connection)),
        limits_(limits),
        owner_(owner),
        timer_(std::in_place, loop, [this] { onTimer(); }),
        tell_owner_(loop, [this] { owner_.onConnectionClosed(*this); }) {}

  void start() {
    net::Connection& connection = *connection_;
    connection.requireProgress();
    connection.start(*this);
    started_ = true;
  }

  void drain(Idle idle) override {
    if (codec_ != nullptr) {
      codec_->drain(idle);
    } else if (idle == Idle::kClose) {
      closeUndecided();
    } else if (timer_.has_value()) {
      draining_ = idle;
      timer_->armAfter(kDrainNotice);
    }
  }
  void close() override {
    tell_owner_.cancel();
    timer_.reset();
    if (codec_ != nullptr) {
      codec_->close();
    } else {
      connection_->close();
    }
  }
  std::size_t activeStreams() const override {
    return codec_ != nullptr ? codec_->activeStreams() : 0;
  }
  StreamReservation reserveStream() override { return codec_->reserveStream(); }
  Protocol protocol() const override {
    return codec_ != nullptr ? codec_->protocol() : Protocol::kHttp11;
  }
  const net::Connection& connection() const override {
    return codec_ != nullptr ? codec_->connection() : *connection_;
  }

 private:
  // ServerConnection::Owner
  RequestHandler* onStream(ServerStream& stream) override { return owner_.onStream(stream); }
  ResponseHead rejectRequest(Rejection why, std::string_view detail, std::string& body) override {
    return owner_.rejectRequest(why, detail, body);
  }
  ResponseHead rejectGrpcRequest(Rejection why, std::string_view detail,
                                 std::string& body) override {
    return owner_.rejectGrpcRequest(why, detail, body);
  }
  void onFlood(Flood flood) override { owner_.onFlood(flood); }
  void onOverdue(Overdue what) override { owner_.onOverdue(what); }
  void onUnanswerable(Rejection why, std::string_view detail) override {
    owner_.onUnanswerable(why, detail);
  }
  void onConnectionClosed(ServerConnection&) override {
    if (started_) {
      owner_.onConnectionClosed(*this);
    } else {
      tell_owner_.schedule();
    }
  }

  // net::ConnectionHandler
  void onConnected() override {
    if (connection_->isTls()) {
      choose(connection_->alpn() == "h2");
    } else {
      timer_->armAfter(draining_.has_value() ? kDrainNotice : limits_.header_timeout);
    }
  }
  void onBytes(std::span<const std::uint8_t> bytes) override {
    if (codec_ == nullptr && !sniff(bytes)) {
      return;
    }
    codec_->onBytes(bytes);
  }
  void onFillOutput(net::Buffer& output) override {
    if (codec_ != nullptr) {
      codec_->onFillOutput(output);
    }
  }
  void onPeerClosed() override {
    if (codec_ != nullptr) {
      codec_->onPeerClosed();
    } else {
      closeUndecided();
    }
  }
  void onClosed(net::CloseReason reason) override {
    if (codec_ != nullptr) {
      codec_->onClosed(reason);
    } else {
      timer_.reset();
      if (reason == net::CloseReason::kHandshakeFailed ||
          reason == net::CloseReason::kHandshakeTimeout) {
        owner_.onHandshakeFailed(net::describe(reason, *connection_));
      }
      onConnectionClosed(*this);
    }
  }

  // Whether the protocol is known and bytes are the codec's. What came before has been passed on.
  bool sniff(std::span<const std::uint8_t> bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string_view expected = kHttp2Preface.substr(matched_).substr(0, text.size());
    const bool matches = text.starts_with(expected);
    if (matches && matched_ + text.size() < kHttp2Preface.size()) {
      if (matched_ == 0) {
        timer_->armAfter(limits_.preface_timeout);
      }
      matched_ += text.size();
      return false;
    }
    choose(matches);
    if (matched_ > 0) {
      const auto* const begun = reinterpret_cast<const std::uint8_t*>(kHttp2Preface.data());
      codec_->onBytes({begun, matched_});
    }
    return codec_->connection().isOpen();
  }

  void choose(bool http2) {
    timer_.reset();
    codec_ = http2 ? makeHttp2ServerConnection(loop_, std::move(connection_), limits_, *this)
                   : makeHttp1Server(loop_, std::move(connection_), limits_, *this);
    codec_->onConnected();
    if (draining_.has_value()) {
      codec_->drain(*draining_);
    }
  }

  void onTimer() {
    if (matched_ > 0) {
      owner_.onOverdue(Overdue::kPreface);
    }
    closeUndecided();
  }

  // Nothing of a request is known, so nothing is answered.
  void closeUndecided() {
    if (timer_.has_value()) {
      connection_->close();
      timer_->disarm();
      tell_owner_.schedule();
    }
  }

  net::EventLoop& loop_;
  std::unique_ptr<net::Connection> connection_;  // until the codec has it
  const Limits& limits_;
  ServerConnection::Owner& owner_;
  std::unique_ptr<ServerCodec> codec_;
  std::size_t matched_ = 0;          // bytes of the preface that have come
  std::optional<net::Timer> timer_;  // until the protocol is known
  net::Deferred tell_owner_;         // of the end, when it comes inside one of the owner's calls
  bool started_ = false;
  std::optional<Idle> draining_;  // before the protocol was known
};

}  // namespace

std::unique_ptr<ServerConnection> ServerConnection::make(
    net::EventLoop& loop, std::unique_ptr<net::Connection> connection, const Limits& limits,
    Owner& owner) {
  auto made =
      std::make_unique<NegotiatedServerConnection>(loop, std::move(connection), limits, owner);
  made->start();
  return made;
}

}  // namespace penstock::http
