#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "net/http/http1_message.h"
#include "net/http/http1_writer.h"
#include "net/http/stream.h"

namespace penstock::http {

// The answering half of the one request that an HTTP/1 server connection has at a time; a part of
// the connection, used again for each request.
class Http1ServerStream final : public ServerStream {
 public:
  // What the stream asks of its connection.
  class Transport {
   public:
    virtual ~Transport() = default;
    virtual net::Buffer& output() = 0;
    virtual std::size_t unwritten() const = 0;
    virtual void flushLater() = 0;
    // Whether the response may promise to keep the connection. ends: no body follows its head.
    virtual bool mayKeepAlive(bool ends) const = 0;
    virtual void onHeadSent(bool keeps_alive) = 0;
    // The request for a WebSocket is accepted: what comes from now on is its data.
    virtual void onAccepted() = 0;
    // whole: all that the head declared was sent.
    virtual void onResponseEnded(bool whole) = 0;
    // The client was told to send the body.
    virtual void onContinued() = 0;
    virtual void onPaceLifted() = 0;
    virtual void onConsumed(std::size_t count) = 0;
    // The handler has gone. flush: what it has sent is still to be written.
    virtual void onReset(bool flush) = 0;
  };

  explicit Http1ServerStream(Transport& transport) : transport_(transport) {}

  void begin(const Http1Request& request);
  void setHandler(RequestHandler* handler) { handler_ = handler; }
  // Null if no request is being answered.
  RequestHandler* handler() const { return handler_; }
  bool headSent() const { return head_sent_; }
  bool responseDone() const { return response_done_; }
  bool waitsForContinue() const { return expects_continue_; }
  bool asksForWebSocket() const { return !websocket_key_.empty(); }
  void onBodyArrived() { expects_continue_ = false; }
  // Output was written.
  void onProgress();
  // The last call to the handler.
  void end(StreamEnd how);

  void sendInformational(int status, const Headers& headers) override;
  void sendContinue() override;
  bool awaitsContinue() const override { return expects_continue_ && !head_sent_; }
  void liftBodyPace() override { transport_.onPaceLifted(); }
  void sendHead(const ResponseHead& head, bool end_stream) override;
  std::uint64_t bodyBytesSent() const override;
  void sendData(net::Buffer& data, bool end_stream) override;
  void sendTrailers(const Headers& trailers) override;
  void reset(ResetReason reason) override;
  std::size_t unsentBytes() const override { return transport_.output().size(); }
  void setHighWatermark(std::size_t bytes) override { high_watermark_ = bytes; }
  void consume(std::size_t count) override { transport_.onConsumed(count); }

 private:
  void endResponse(bool whole);

  Transport& transport_;
  RequestHandler* handler_ = nullptr;
  Http1Writer writer_;
  std::string websocket_key_;
  bool http10_ = false;
  bool to_head_ = false;
  bool expects_continue_ = false;
  bool head_sent_ = false;
  bool response_done_ = false;
  bool above_watermark_ = false;
  std::size_t high_watermark_ = kDefaultHighWatermark;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t wire_bytes_ = 0;  // the same with their frames
};

}  // namespace penstock::http
