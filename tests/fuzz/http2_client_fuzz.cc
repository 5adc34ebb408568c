// A client's HTTP/2 session that is fed frames, with requests of several kinds under way: whatever
// the frames are, a response is clean, in order and ends once. The first byte says what the client
// does besides; SETTINGS come before the rest.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http2_connections.h"
#include "tests/fuzz/byte_peer.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {
namespace {

enum Does : std::uint8_t { kHoldsBack = 1, kResetsAtHead = 2, kSendsMore = 4 };

Limits smallLimits() {
  Limits limits;
  limits.max_header_bytes = 2048;
  limits.max_header_fields = 20;
  limits.stream_window = 64 * 1024;
  return limits;
}

class Handler final : public ResponseHandler {
 public:
  explicit Handler(std::uint8_t does) : does_(does) {}
  bool ended() const { return stream_ == nullptr; }
  void begin(ClientStream& stream, std::string_view method) {
    stream_ = &stream;
    RequestHead head;
    head.method = method;
    head.scheme = "http";
    head.authority = "model";
    head.path = "/";
    sending_ = method == "POST" || method == "PUT";
    stream.sendHead(head, !sending_);
  }

  void onInformational(ResponseHead head) override {
    PENSTOCK_CHECK(!head_ && !ended() && head.status >= 100 && head.status < 200,
                   "informational responses come first");
    check(head.headers);
  }
  void onResponseHead(ResponseHead head, bool) override {
    PENSTOCK_CHECK(!std::exchange(head_, true) && !ended(), "a response has one head");
    PENSTOCK_CHECK(head.status >= 200 && head.status <= 999, "a status is final");
    PENSTOCK_CHECK(head.headers.size() <= 20, "fields are counted");
    check(head.headers);
    if ((does_ & kResetsAtHead) != 0) {
      std::exchange(stream_, nullptr)->reset(ResetReason::kCancel);
    } else if ((does_ & kSendsMore) != 0 && sending_) {
      net::Buffer body;
      body.append(std::string(100, 'b'));
      stream_->sendData(body, false);
    }
  }
  void onData(std::span<const std::uint8_t> data, bool) override {
    PENSTOCK_CHECK(head_ && !ended(), "data belongs to a response");
    if ((does_ & kHoldsBack) == 0) {
      stream_->consume(data.size());
    }
  }
  void onTrailers(Headers trailers) override {
    PENSTOCK_CHECK(head_ && !ended(), "trailers belong to a response");
    check(trailers);
  }
  void onSendReady() override {}
  void onEnd(StreamEnd) override {
    PENSTOCK_CHECK(!ended(), "a response ends once");
    stream_ = nullptr;
  }

 private:
  static void check(const Headers& headers) {
    for (const Headers::Field field : headers) {
      PENSTOCK_CHECK(isFieldName(field.name), "field names are tokens in lower case");
      PENSTOCK_CHECK(isFieldValue(field.value), "field values hold no control character");
      PENSTOCK_CHECK(!isHopByHopField(field.name) || field.name == "http2-settings",
                     "fields of a connection are out");
    }
  }

  const std::uint8_t does_;
  ClientStream* stream_ = nullptr;
  bool sending_ = false;
  bool head_ = false;
};

class Client final : public ClientConnection::Owner {
 public:
  Client(net::EventLoop& loop, fuzz::BytePeer& peer) : loop_(loop) {
    auto connection = peer.connection(loop);
    net::Connection& started = *connection;
    codec_ = makeHttp2ClientConnection(loop, std::move(connection), false, limits_, *this);
    started.start(*codec_);
  }
  ~Client() override {
    if (codec_ != nullptr) {
      codec_->close();
    }
  }
  void ask(Handler& handler, std::string_view method) {
    if (codec_ != nullptr && codec_->canOpen()) {
      handler.begin(codec_->newStream(handler), method);
    }
  }

 private:
  void onReady(ClientConnection&) override {}
  void onCapacity(ClientConnection&) override {}
  void onDraining(ClientConnection&) override {}
  void onConnectionClosed(ClientConnection&, net::CloseReason) override {
    loop_.destroyLater(std::move(codec_));
  }
  void onNotHttp2(ClientConnection&, NotHttp2) override { loop_.destroyLater(std::move(codec_)); }

  const Limits limits_ = smallLimits();
  net::EventLoop& loop_;
  std::unique_ptr<ClientCodec> codec_;
};

}  // namespace
}  // namespace penstock::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  using namespace std::string_view_literals;
  const std::uint8_t does = size > 0 ? data[0] : 0;
  const std::string_view frames(reinterpret_cast<const char*>(data) + (size > 0 ? 1 : 0),
                                size > 0 ? size - 1 : 0);
  ManualClock clock;
  net::EventLoop loop(clock);
  std::array handlers{http::Handler(does), http::Handler(does), http::Handler(does),
                      http::Handler(does)};
  {
    fuzz::BytePeer peer;
    http::Client client(loop, peer);
    peer.send(loop, "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"sv);
    for (std::size_t i = 0; i < handlers.size(); ++i) {
      constexpr std::array kMethods{"GET", "POST", "HEAD", "PUT"};
      client.ask(handlers[i], kMethods[i]);
    }
    peer.settle(loop);
    peer.send(loop, frames);
    clock.advance(std::chrono::seconds(31));
    peer.settle(loop);
  }
  for (const http::Handler& handler : handlers) {
    PENSTOCK_CHECK(handler.ended(), "with the connection every response has ended");
  }
  net::runTurn(loop);
  return 0;
}
