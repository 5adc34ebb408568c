#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "net/http/codec.h"
#include "net/http/http2_headers.h"
#include "net/http/http2_session.h"

namespace penstock::http {

class Http2ClientConnection;

// A request that we make on an HTTP/2 connection.
class Http2ClientStream final : public Http2StreamOf<ClientStream> {
 public:
  Http2ClientStream(Http2ClientConnection& connection, Http2Session& session,
                    ResponseHandler& handler)
      : Http2StreamOf(session, &handler), connection_(connection), response_handler_(handler) {}

  void sendHead(const RequestHead& head, bool end_stream) override;
  void reset(ResetReason reason) override;
  void doubt() override;
  bool started() const override { return started_; }

 private:
  friend class Http2ClientConnection;

  Http2ClientConnection& connection_;
  std::optional<TimePoint> doubted_at_;  // by whoever waited for the answer
  ResponseHandler& response_handler_;  // the same as handler_, which tells whether it still listens
  int informational_ = 0;
  bool is_websocket_ = false;
  bool response_seen_ = false;  // header blocks from now on are trailers
};

// The client side of an HTTP/2 connection, with prior knowledge or after ALPN.
class Http2ClientConnection final : public ClientCodec, private Http2Session::Events {
 public:
  Http2ClientConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                        bool detect, const Limits& limits, Owner& owner);

  bool canOpen() const override;
  ClientStream& newStream(ResponseHandler& handler) override;
  std::size_t activeStreams() const override { return session_.streams().size(); }
  bool takesWebSockets() const override;
  bool inDoubt() const override { return doubted_at_.has_value() && !draining_; }
  // Nobody waits any longer for the answer to a request that was sent.
  void doubt();
  void close() override { session_.close(StreamEnd::kLocal); }
  Protocol protocol() const override { return Protocol::kHttp2; }
  const net::Connection& connection() const override { return session_.connection(); }

  void onConnected() override;
  void onBytes(std::span<const std::uint8_t> bytes) override;
  void onFillOutput(net::Buffer& output) override { session_.fill(output); }
  void onPeerClosed() override;
  void onClosed(net::CloseReason reason) override;

 private:
  void onHeadersBegin(std::int32_t id, bool opens) override;
  void onHeader(Http2Stream& stream, std::string_view name, std::string_view value) override;
  void onInvalidHeader(Http2Stream& stream) override;
  void onHeadersEnd(Http2Stream* stream, bool end_stream) override;
  void onSettings(bool ack) override;
  void onPingAck() override {}
  void onGoaway() override { stopOpening(); }
  void onGoawaySent() override {}
  void onStreamsEnded() override;
  TimePoint onTimer(TimePoint now) override;

  // The peer has not shown in time that it lives: the connection takes no stream, and is closed
  // once nobody waits for those that it has.
  void giveUpInDoubt();
  void acceptHead(Http2ClientStream& stream, bool end_stream);
  std::size_t streamLimit() const;
  // Ends requests that nghttp2 holds back because the peer has lowered its limit since they were
  // opened: here they would wait without a bound.
  void refuseHeldBack();
  void stopOpening();
  // What the peer says (or does not say) is not HTTP/2. True if the owner was told so.
  bool giveUpHttp2(NotHttp2 how);
  void finish(StreamEnd end, net::CloseReason reason);

  Owner& owner_;
  Http2Session session_;
  Http2ResponseBlock block_;
  Http2FieldBlock trailers_;
  TimePoint connected_at_{};
  TimePoint heard_at_{};                 // when bytes last came
  std::optional<TimePoint> doubted_at_;  // a PING is out, and nothing has come since
  const bool detect_;
  bool connected_ = false;
  bool any_bytes_ = false;
  bool ready_ = false;  // the server's SETTINGS have come
  bool settings_acked_ = false;
  bool draining_ = false;
};

}  // namespace penstock::http
