#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "net/http/connection_pool.h"
#include "net/http/stream.h"
#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {

class UpstreamCluster;

// One attempt to run a request on the replica that its slot names. It holds the slot until the
// replica has really ended the work; when nobody waits for the answer any more, AbandonedRequest
// becomes its owner. Loop thread only.
class UpstreamRequest final : public http::ResponseHandler, public http::StreamWaiter {
 public:
  // How an attempt failed. Not executed: the replica provably did not run it.
  enum class Failure {
    kConnectFailed,  // not executed
    // Not executed: the replica said so (503, REFUSED_STREAM, GOAWAY), its connection was lost
    // before a byte was written, or it allowed no stream in time.
    kRefused,
    kReset,  // the replica reset the stream
    kConnectionLost,
    kUnanswered,  // lost without a byte of an answer, on a connection that had been used before
    kProtocolError,
    kStreamFailed,  // the replica reset a stream whose response had begun: its model failed
                    // half-way
    kTooLarge,      // not executed: the request's fields are more than the replica takes
  };
  static bool provablyNotExecuted(Failure failure) {
    return failure == Failure::kConnectFailed || failure == Failure::kRefused;
  }

  class Owner {
   public:
    virtual ~Owner() = default;
    // A stream is open: send the request now.
    virtual void onUpstreamReady() = 0;
    virtual void onUpstreamInformational(http::ResponseHead head) = 0;
    virtual void onUpstreamHead(http::ResponseHead head, bool end_stream) = 0;
    virtual void onUpstreamData(std::span<const std::uint8_t> data, bool end_stream) = 0;
    virtual void onUpstreamTrailers(http::Headers trailers) = 0;
    virtual void onUpstreamSendReady() = 0;
    // The last call. The slot is still held: take it for another attempt, or destroy the request.
    virtual void onUpstreamFailed(Failure failure) = 0;
    // The last call: both directions have ended. The slot has been returned.
    virtual void onUpstreamEnd() = 0;
  };

  UpstreamRequest(UpstreamCluster& cluster, Slot slot, Owner& owner);
  ~UpstreamRequest() override;

  // Once ready: what the replica's connection speaks, and whether it can carry a WebSocket.
  http::Protocol protocol() const { return protocol_; }
  bool takesWebSockets() const { return takes_websockets_; }
  // Finds a connection; the owner hears of it in this call or later.
  void start();
  void sendHead(const http::RequestHead& head, bool end_stream);
  void sendData(net::Buffer& data, bool end_stream);
  void sendTrailers(const http::Headers& trailers);
  void consume(std::size_t count);
  std::size_t unsentBytes() const;
  void setHighWatermark(std::size_t bytes) { stream_->setHighWatermark(bytes); }

  const Replica& replica() const { return slot_.replica(); }
  // Identifies this attempt to the sidecar; unique. Empty if the replica is known not to be one.
  const std::string& attemptId() const { return attempt_id_; }
  // Whether the replica's answer should carry a load report; what it carries then is read.
  bool wantsLoadReport() const { return wants_load_report_; }
  // Gives up the stream, if any, and the slot with it.
  Slot takeSlot();

  // For AbandonedRequest.

  void setOwner(Owner& owner) { owner_ = &owner; }
  // Whether the replica may be at work on it and is waited for.
  bool mayBeRunning() const;
  // Nobody waits for the answer: a sidecar is asked to end the work early.
  void askToCancel();
  bool sentWhole() const { return request_sent_; }

  void onConnection(http::ClientConnection& connection) override;
  void onConnectFailed(net::CloseReason reason, std::string_view why) override;
  void onNoStream() override;
  void onInformational(http::ResponseHead head) override;
  void onResponseHead(http::ResponseHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override;
  void onEnd(http::StreamEnd end) override;

 private:
  void onRefusalHead(const http::ResponseHead& head);

  UpstreamCluster& cluster_;
  Slot slot_;
  Owner* owner_;
  std::string attempt_id_;
  bool wants_load_report_ = false;
  http::ClientStream* stream_ = nullptr;
  bool request_sent_ = false;
  bool response_begun_ = false;
  enum class Kind { kPlain, kGrpc, kWebSocket };
  Kind kind_ = Kind::kPlain;
  bool takes_websockets_ = false;
  http::Protocol protocol_ = http::Protocol::kHttp11;
};

}  // namespace penstock::proxy
