#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/codec.h"
#include "net/http/http1_reader.h"
#include "net/http/http1_writer.h"

namespace penstock::http {

// HTTP/1.1, the asking side: one request at a time, the connection kept for the next one if the
// response allows; a WebSocket uses it up. Bytes or an end of file on an idle connection close it;
// so does an answer that comes before its request was sent whole. Idle for longer than idle_timeout
// it closes itself.
class Http1ClientConnection final : public ClientCodec, private ClientStream {
 public:
  Http1ClientConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                        const Limits& limits, Owner& owner);

  bool canOpen() const override;
  ClientStream& newStream(ResponseHandler& handler) override;
  std::size_t activeStreams() const override { return handler_ != nullptr ? 1 : 0; }
  bool takesWebSockets() const override { return true; }
  void close() override;
  Protocol protocol() const override { return Protocol::kHttp11; }
  const net::Connection& connection() const override { return *connection_; }

  void onConnected() override;
  void onBytes(std::span<const std::uint8_t> bytes) override;
  void onFillOutput(net::Buffer& output) override;
  void onPeerClosed() override;
  void onClosed(net::CloseReason reason) override;

 private:
  void sendHead(const RequestHead& head, bool end_stream) override;
  void sendData(net::Buffer& data, bool end_stream) override;
  void sendTrailers(const Headers& trailers) override;
  void reset(ResetReason reason) override;
  std::size_t unsentBytes() const override { return connection_->output().size() + held_.size(); }
  void setHighWatermark(std::size_t bytes) override { high_watermark_ = bytes; }
  void consume(std::size_t count) override;
  bool started() const override;

  void process(std::string_view& input);
  // Whether the response ends with its head.
  bool onHead(std::string_view block);
  // Whether this 101 accepts the WebSocket that was asked for.
  bool accepts(const Http1Response& response) const;
  void beginTunnel(Http1Response& response);
  void onBody(std::string_view bytes, bool last);
  void onTrailerSection();
  // The response is complete; junk: and more came.
  void finishResponse(bool junk);
  void onRequestWritten(bool whole);
  void endStream(StreamEnd how);
  // How a stream ends whose connection has failed.
  StreamEnd lost() const;
  void closeNow(net::CloseReason reason);
  void onWork();
  void onTimer();

  net::EventLoop& loop_;
  std::unique_ptr<net::Connection> connection_;
  const Limits& limits_;
  Owner& owner_;
  Http1Reader reader_;
  Http1Writer writer_;
  net::Timer timer_;
  net::Deferred work_;  // what the owner and the handler are not told from inside their own calls
  TimePoint idle_since_;
  std::optional<net::CloseReason> closed_;  // the owner is to be told
  bool connected_ = false;
  bool keep_alive_ = true;
  bool closing_ = false;
  bool freed_ = false;  // the owner is to be told of onCapacity

  std::uint64_t requests_ = 0;

  // The request under way.
  ResponseHandler* handler_ = nullptr;
  std::string websocket_key_;  // not empty: it asks for a WebSocket
  net::Buffer held_;           // to be sent once that is accepted
  std::size_t unconsumed_ = 0;
  int informational_ = 0;
  bool to_head_ = false;
  bool head_sent_ = false;
  bool request_done_ = false;
  bool tunnel_ = false;  // the WebSocket is accepted
  bool started_ = false;
  // What lay in the output when the request was last added to: less means that some was written.
  std::size_t queued_ = 0;
  bool answered_ = false;  // a byte of an answer has come
  bool response_begun_ = false;
  bool above_watermark_ = false;
  std::size_t high_watermark_ = kDefaultHighWatermark;
};

}  // namespace penstock::http
