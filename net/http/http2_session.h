#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "net/connection.h"
#include "net/http/http2_flood_guard.h"
#include "net/http/http2_frame_heads.h"
#include "net/http/http2_headers.h"
#include "net/http/http2_stream.h"
#include "net/http/limits.h"

namespace penstock::http {

// One HTTP/2 connection as both sides need it: nghttp2's session, the streams, flow control, one
// timer. nghttp2 is fed what was read, but no cut heads of frames, and asked for output only when
// the connection is about to write, never inside its own receive callbacks. Windows: the
// connection's is given back as bytes come, a stream's as they are consumed, so that nobody who
// waits holds up another. Loop thread only.
class Http2Session {
 public:
  enum class Side { kServer, kClient };

  // What the two sides do differently. Called while bytes are read or output is made; anything may
  // be called in return. A null stream is one that nobody cares for any more.
  class Events {
   public:
    virtual ~Events() = default;
    // opens: a request begins; else the block belongs to a stream that is there.
    virtual void onHeadersBegin(std::int32_t id, bool opens) = 0;
    virtual void onHeader(Http2Stream& stream, std::string_view name, std::string_view value) = 0;
    // nghttp2 is about to leave out a malformed field.
    virtual void onInvalidHeader(Http2Stream& stream) = 0;
    virtual void onHeadersEnd(Http2Stream* stream, bool end_stream) = 0;
    virtual void onSettings(bool ack) = 0;
    virtual void onPingAck() = 0;
    virtual void onGoaway() = 0;
    virtual void onGoawaySent() = 0;
    // Server: the client has done something too often; the session is ending.
    virtual void onFlood(ServerConnection::Flood) {}
    // Server: nghttp2 resets this stream, because its header block is no request's.
    virtual void onInvalidRequest(Http2Stream&) {}
    // Server: the client broke the protocol of the connection, which is ending.
    virtual void onInvalidConnection(ServerConnection::Rejection, std::string_view /*detail*/) {}
    // One or more streams have ended since the last call.
    virtual void onStreamsEnded() = 0;
    // Something may be due. Returns when to be called next, at the latest.
    virtual TimePoint onTimer(TimePoint now) = 0;
  };

  Http2Session(Side side, net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
               const Limits& limits, Events& events);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Sends SETTINGS and opens the connection window.
  void start();
  // False: the peer broke the protocol beyond words; the connection is to be closed now. What it
  // did has been told.
  [[nodiscard]] bool receive(std::span<const std::uint8_t> bytes);
  // Appends what may be sent, up to about 64 KiB.
  void fill(net::Buffer& output);
  // Says GOAWAY with this error and closes when it is written; streams end with end.
  void terminate(StreamEnd end, std::uint32_t error_code);
  // Closes the socket and ends every stream: kRefused for those never started, unless kLocal.
  void close(StreamEnd end);
  bool isOpen() const { return open_; }

  void add(std::unique_ptr<Http2Stream> stream);
  // Ends it for the handler at once, and frees it when the turn is over.
  void endStream(Http2Stream& stream, StreamEnd end);
  // Resets it on the wire and tells nobody.
  void resetStream(Http2Stream& stream, ResetReason reason);
  // Resets it on the wire now; the handler hears of it later in this turn.
  void failLater(Http2Stream& stream, StreamEnd end, std::uint32_t error_code);
  // onSendReady is due.
  void readyLater(Http2Stream& stream);
  const std::vector<std::unique_ptr<Http2Stream>>& streams() const { return streams_; }

  // Tells of a request that has been accepted, or of an answer to one.
  void requestAccepted() { guard_.onRequest(); }
  // The peer sent a header block that is too large: it may do so as often as it may force resets.
  void headersTooLarge() { guard_.onForcedReset(loop_.now()); }

  // Since when there is no stream, if there is none.
  TimePoint idleSince() const { return idle_since_; }

  // The timer is to fire no later than that.
  void due(TimePoint when);
  void due(TimePoint now, Duration timeout);
  void flushLater();

  // Whether the peer takes a header block of that size. A small one is sent whatever it says.
  bool takesHeaders(std::size_t bytes) const;
  Http2FieldRoom& fieldRoom() { return field_room_; }
  nghttp2_session* native() const { return native_; }
  net::EventLoop& loop() { return loop_; }
  net::Connection& connection() { return *connection_; }
  const net::Connection& connection() const { return *connection_; }
  const Limits& limits() const { return limits_; }

 private:
  friend struct Http2Callbacks;

  void submitSettings();
  // Ends the connection if its client has done something too often.
  void checkFlood();
  // nghttp2 has no GOAWAY for these. True: all is well.
  bool checkReceived(ssize_t taken);
  void frameReceived(const nghttp2_frame& frame);
  void frameSent(const nghttp2_frame& frame);
  // nghttp2 has dropped a frame of ours.
  void frameNotSent(const nghttp2_frame& frame);
  void streamClosed(Http2Stream& stream, std::uint32_t error_code);
  StreamEnd classify(const Http2Stream& stream, std::uint32_t error_code) const;
  Http2Stream* find(std::int32_t id);
  // It is not to be found any more.
  void forget(const Http2Stream& stream);
  // Whether the peer may go on sending fields.
  bool mayDecode(std::size_t bytes);
  void resetOnWire(Http2Stream& stream, std::uint32_t error_code);
  // Takes it out of the list, to be freed at the end of the turn.
  void retire(Http2Stream& stream);
  void endAll(StreamEnd end);
  StreamEnd atEnd(const Http2Stream& stream, StreamEnd end) const;
  void deliverPending();
  void onTimerFired();

  const Side side_;
  net::EventLoop& loop_;
  std::unique_ptr<net::Connection> connection_;
  const Limits limits_;
  Events& events_;
  Http2FrameHeads heads_;
  Http2FloodGuard guard_;
  Http2FieldRoom field_room_;
  nghttp2_session* native_ = nullptr;
  std::vector<std::unique_ptr<Http2Stream>> streams_;
  Http2Stream* found_ = nullptr;       // found last, since most frames of a stream come in a row
  Http2Stream* block_ = nullptr;       // whose header block is being read
  std::vector<Http2Stream*> pending_;  // have something to hear once nghttp2 has returned
  net::Buffer* filling_ = nullptr;
  net::Timer timer_;
  TimePoint armed_for_ = TimePoint::max();
  TimePoint idle_since_;
  StreamEnd farewell_ = StreamEnd::kProtocolError;  // for streams left when nghttp2 is done
  bool open_ = true;
  bool streams_ended_ = false;
  bool flooded_ = false;
};

}  // namespace penstock::http
