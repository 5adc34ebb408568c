#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/buffer.h"
#include "net/http/headers.h"

namespace penstock::http {

// How a stream ended.
enum class StreamEnd {
  kComplete,        // both directions ended as they should
  kPeerReset,       // RST_STREAM from the peer; HTTP/1, from a client: closed in mid-message
  kRefused,         // provably not processed: REFUSED_STREAM, above GOAWAY's last id, or the
                    // connection failed before a byte of the request was written
  kConnectionLost,  // the connection failed after bytes of the request were written
  kUnanswered,      // the same, on a connection used before, without a byte of an answer: the peer
                    // may have closed it before it saw the request
  kProtocolError,   // the peer broke the protocol
  kTimeout,         // headers or body did not come in time, output made no progress
  kTooLarge,        // we cannot send one of its header blocks: it is more than the peer takes
  kLocal,           // closed by us with the connection
};
std::string_view toString(StreamEnd end);

// Why a codec refuses a request, or the rest of one. Maps to a status in the owner's table.
enum class Rejection {
  kBadRequest,           // 400
  kMethodNotAllowed,     // 405: CONNECT without :protocol, TRACE
  kRequestTimeout,       // 408: headers or body too slow
  kUriTooLong,           // 414
  kMisdirected,          // 421: host and :authority disagree
  kHeadersTooLarge,      // 431
  kVersionNotSupported,  // 505
  kNotImplemented,       // 501: unknown transfer coding, CONNECT to another protocol
  kWebSocketVersion,     // 400; the codec adds the version that it takes
};

// Why we reset a stream; HTTP/2: the error code, HTTP/1: the connection is closed.
enum class ResetReason { kNoError, kCancel, kRefused, kInternal, kProtocol, kEnhanceYourCalm };

// The writing half and the window of one HTTP stream, for the side that answers (ServerStream) or
// asks (ClientStream). Owned by the codec; valid until the handler's onEnd or a call of reset().
// All calls on the loop's thread; calling from inside handler callbacks is allowed, nothing is sent
// before they return.
class Stream {
 public:
  static constexpr std::size_t kDefaultHighWatermark = 256 * 1024;

  virtual ~Stream() = default;
  // Whether a header block with these fields can be sent: an HTTP/2 peer announces how much it
  // takes. Sending a larger one resets the stream, with onEnd(kTooLarge).
  virtual bool fits(const Headers&) const { return true; }
  // Takes everything out of data. end_stream: no more data or trailers.
  virtual void sendData(net::Buffer& data, bool end_stream) = 0;
  // Ends the stream.
  virtual void sendTrailers(const Headers& trailers) = 0;
  // Ends both directions at once. No further callbacks; the stream is gone.
  virtual void reset(ResetReason reason) = 0;
  // Body bytes given to sendData that have not been written to the socket yet.
  virtual std::size_t unsentBytes() const = 0;
  // More unsent than this, and onSendReady() is called once half of it is left.
  virtual void setHighWatermark(std::size_t bytes) = 0;
  // count bytes of received body are dealt with: the peer may send as many more. What is not
  // consumed holds back the peer (HTTP/2 stream window; HTTP/1: reading pauses).
  virtual void consume(std::size_t count) = 0;
};

// What both sides hear of a stream's reading half.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // data is valid during the call. May be empty when end_stream.
  virtual void onData(std::span<const std::uint8_t> data, bool end_stream) = 0;
  // Ends the reading half.
  virtual void onTrailers(Headers trailers) = 0;
  // unsentBytes() has fallen to half of the high watermark or below after having been above it:
  // more may be sent.
  virtual void onSendReady() = 0;
  // The last call, exactly once, unless the handler itself called reset(). The stream is gone.
  virtual void onEnd(StreamEnd end) = 0;
};

class ServerStream : public Stream {
 public:
  // 1xx other than 101; before sendHead. (100-continue is sent by expectContinue().)
  virtual void sendInformational(int status, const Headers& headers) = 0;
  // Sends "100 Continue" if the client waits for it and no byte of the body has come.
  virtual void sendContinue() = 0;
  // Whether the client waits for sendContinue() before it sends the body.
  virtual bool awaitsContinue() const = 0;
  // The rest of the request may come as slowly as its client likes: somebody else bounds that from
  // now on. Otherwise body_idle_timeout and min_body_rate apply until the response begins.
  virtual void liftBodyPace() = 0;
  virtual void sendHead(const ResponseHead& head, bool end_stream) = 0;
  // Bytes of the response's body that have left this process: what is still buffered, or was when
  // the stream ended, is not among them. May be asked in onEnd() too. (Of HTTP/1's chunks with
  // their frames unsent in part, in proportion.)
  virtual std::uint64_t bodyBytesSent() const = 0;
};

// A request as it arrives. A request for a WebSocket (RequestHead::isWebSocket) comes without
// end_stream; once accepted, its data is what the client sends, until that ends its direction. An
// end of the response ends the WebSocket.
// onEnd(kComplete) comes when the request is read to its end and the
// response is written to the socket. If the response ends before the request does, the codec stops
// reading the request (HTTP/2: RST_STREAM NO_ERROR; HTTP/1: closes after the response).
class RequestHandler : public StreamHandler {
 public:
  // The first call. end_stream: no body.
  virtual void onRequestHead(RequestHead head, bool end_stream) = 0;
  // The rest of the request breaks the protocol or comes too slowly: none of it will come. True:
  // the handler has ended its response, or is about to reset the stream. False: the codec answers
  // in its owner's words, and onEnd comes now.
  virtual bool onUnreadable(Rejection, std::string_view /*detail*/) { return false; }
};

class ClientStream : public Stream {
 public:
  // First call. Once. A WebSocket is asked for only if the connection takesWebSockets(); what is
  // sent on it before it is accepted is kept back.
  virtual void sendHead(const RequestHead& head, bool end_stream) = 0;
  // Whether a byte of this request may have reached the peer.
  virtual bool started() const = 0;
  // The answer is late, or nobody waits for it any more. If nothing has come from the peer for a
  // while, the connection has to show that it lives before it takes another stream, and is closed
  // if it does not. (HTTP/2: PING. Over HTTP/1 it takes no other anyway.) reset()
  // says it too.
  virtual void doubt() {}
};

// A response as it arrives. To a request for a WebSocket, status 200 says that it is accepted; a
// replica that answers with any other 2xx, or with 2xx instead of HTTP/1.1's 101, has not done that
// and is heard as 501. The end of an accepted one's data is its end.
class ResponseHandler : public StreamHandler {
 public:
  // 1xx; at most 10, more is a protocol error.
  virtual void onInformational(ResponseHead head) = 0;
  virtual void onResponseHead(ResponseHead head, bool end_stream) = 0;
};

}  // namespace penstock::http
