// A server's HTTP/2 session that is fed frames: whatever they are, a request that a handler sees is
// clean and ends once, and with the connection all of them have ended. The first byte says how the
// handler answers; the preface and SETTINGS come before the rest.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http2_connections.h"
#include "tests/fuzz/byte_peer.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {
namespace {

enum Answer : std::uint8_t { kAtHead = 1, kTrailers = 2, kReset = 4, kLarge = 8, kHoldsBack = 16 };

Limits smallLimits() {
  Limits limits;
  limits.max_header_bytes = 2048;
  limits.max_header_fields = 20;
  limits.max_path_bytes = 200;
  limits.max_streams = 4;
  limits.stream_window = 64 * 1024;
  return limits;
}

class Handler final : public RequestHandler {
 public:
  Handler(ServerStream& stream, std::uint8_t how) : stream_(&stream), how_(how) {}
  bool ended() const { return stream_ == nullptr; }

  void onRequestHead(RequestHead head, bool end_stream) override {
    PENSTOCK_CHECK(!std::exchange(begun_, true), "a request has one head");
    PENSTOCK_CHECK(isMethod(head.method), "the method is a token");
    PENSTOCK_CHECK(head.path == "*" || isOriginForm(head.path), "the path is in origin form");
    PENSTOCK_CHECK(head.path.size() <= 200, "the path is within its limit");
    PENSTOCK_CHECK(isAuthority(head.authority), "the host is a host");
    PENSTOCK_CHECK(head.headers.size() <= 20, "fields are counted");
    check(head.headers);
    if (end_stream || (how_ & kAtHead) != 0) {
      answer();
    }
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    PENSTOCK_CHECK(begun_ && !ended(), "data belongs to a request");
    if ((how_ & kHoldsBack) == 0) {
      stream_->consume(data.size());
    }
    if (end_stream) {
      answer();
    }
  }
  void onTrailers(Headers trailers) override {
    PENSTOCK_CHECK(begun_ && !ended(), "trailers belong to a request");
    check(trailers);
    answer();
  }
  void onSendReady() override {}
  void onEnd(StreamEnd) override {
    PENSTOCK_CHECK(!ended(), "a request ends once");
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
  void answer() {
    if (ended() || std::exchange(answered_, true)) {
      return;
    }
    if ((how_ & kReset) != 0) {
      std::exchange(stream_, nullptr)->reset(ResetReason::kInternal);
      return;
    }
    ResponseHead head;
    head.headers.add("x", "y");
    stream_->sendHead(head, false);
    net::Buffer body;
    body.append(std::string((how_ & kLarge) != 0 ? 200'000 : 10, 'b'));
    stream_->sendData(body, (how_ & kTrailers) == 0);
    if ((how_ & kTrailers) != 0) {
      stream_->sendTrailers(head.headers);
    }
  }

  ServerStream* stream_;
  const std::uint8_t how_;
  bool begun_ = false;
  bool answered_ = false;
};

class Server final : public ServerConnection::Owner {
 public:
  Server(net::EventLoop& loop, fuzz::BytePeer& peer, std::uint8_t how) : loop_(loop), how_(how) {
    auto connection = peer.connection(loop);
    net::Connection& started = *connection;
    codec_ = makeHttp2ServerConnection(loop, std::move(connection), limits_, *this);
    started.start(*codec_);
  }
  ~Server() override {
    if (codec_ != nullptr) {
      codec_->close();
    }
    for (const auto& handler : handlers_) {
      PENSTOCK_CHECK(handler->ended(), "with the connection every request has ended");
    }
  }

 private:
  RequestHandler* onStream(ServerStream& stream) override {
    return handlers_.emplace_back(std::make_unique<Handler>(stream, how_)).get();
  }
  ResponseHead rejectRequest(ServerConnection::Rejection why, std::string_view detail,
                             std::string& body) override {
    body = detail;
    ResponseHead head;
    head.status = 400 + static_cast<int>(why);
    head.content_length = body.size();
    return head;
  }
  void onConnectionClosed(ServerConnection&) override { loop_.destroyLater(std::move(codec_)); }

  const Limits limits_ = smallLimits();
  net::EventLoop& loop_;
  const std::uint8_t how_;
  std::vector<std::unique_ptr<Handler>> handlers_;
  std::unique_ptr<ServerCodec> codec_;
};

}  // namespace
}  // namespace penstock::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock;
  using namespace std::string_view_literals;
  const std::string_view frames(reinterpret_cast<const char*>(data) + (size > 0 ? 1 : 0),
                                size > 0 ? size - 1 : 0);
  ManualClock clock;
  net::EventLoop loop(clock);
  {
    fuzz::BytePeer peer;
    http::Server server(loop, peer, size > 0 ? data[0] : 0);
    peer.send(loop, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"sv);
    peer.send(loop, frames);
    clock.advance(std::chrono::seconds(31));
    peer.settle(loop);
  }
  net::runTurn(loop);
  return 0;
}
