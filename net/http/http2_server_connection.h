#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "net/http/codec.h"
#include "net/http/http2_headers.h"
#include "net/http/http2_server_stream.h"
#include "net/http/http2_session.h"

namespace penstock::http {

// The server side of an HTTP/2 connection. Requests that are at fault themselves are answered here
// with the owner's words and reach no handler; the connection survives them.
class Http2ServerConnection final : public ServerCodec, private Http2Session::Events {
 public:
  Http2ServerConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                        const Limits& limits, Owner& owner);

  void drain(Idle idle) override;
  void close() override { session_.close(StreamEnd::kLocal); }
  std::size_t activeStreams() const override {
    return session_.streams().size() + reserved_.count();
  }
  StreamReservation reserveStream() override { return reserved_.reserve(); }
  Protocol protocol() const override { return Protocol::kHttp2; }
  const net::Connection& connection() const override { return session_.connection(); }

  void onConnected() override;
  void onBytes(std::span<const std::uint8_t> bytes) override;
  void onFillOutput(net::Buffer& output) override { session_.fill(output); }
  void onPeerClosed() override { finish(StreamEnd::kPeerReset); }
  void onClosed(net::CloseReason reason) override;

 private:
  // kAwaited: with the first request or after kDrainNotice, so that the first is answered.
  enum class Drain { kNo, kAwaited, kNoticed, kFinal };

  void onHeadersBegin(std::int32_t id, bool opens) override;
  void onHeader(Http2Stream& stream, std::string_view name, std::string_view value) override;
  void onInvalidHeader(Http2Stream& stream) override;
  void onHeadersEnd(Http2Stream* stream, bool end_stream) override;
  void onSettings(bool ack) override;
  void onPingAck() override;
  void onGoaway() override {}
  void onGoawaySent() override;
  void onFlood(Flood flood) override { owner_.onFlood(flood); }
  void onInvalidRequest(Http2Stream& stream) override;
  void onInvalidConnection(Rejection why, std::string_view detail) override;
  void onStreamsEnded() override;
  TimePoint onTimer(TimePoint now) override;

  void openStream(std::int32_t id);
  void acceptRequest(Http2ServerStream& stream, RequestHead&& head, bool end_stream);
  void acceptTrailers(Http2ServerStream& stream);
  // Answers with the owner's words; the handler, if there was one, has been told.
  void reject(Http2ServerStream& stream, const Http2Refusal& refusal);
  void expire(Http2ServerStream& stream, Http2ServerStream::Overdue overdue);
  // The stream whose header block has begun and not ended; there is one at most.
  Http2ServerStream* withoutHead() const;
  TimePoint checkStreams(TimePoint now);
  // Checks what concerns the connection as a whole. False: it has been ended.
  bool checkConnection(TimePoint now, TimePoint& next);
  void sendNotice();
  void sendFinalGoaway();
  void finish(StreamEnd end);

  Owner& owner_;
  Http2Session session_;
  Http2RequestBlock block_;
  Http2FieldBlock trailers_;
  ReservedStreams reserved_;
  std::uint64_t requests_ = 0;
  TimePoint connected_at_{};
  TimePoint head_since_{};  // when the header block of withoutHead() began
  TimePoint drain_since_{};
  Drain drain_ = Drain::kNo;
  bool head_expired_ = false;
  bool preface_done_ = false;
  bool settings_acked_ = false;
};

}  // namespace penstock::http
