#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <sys/types.h>

#include "base/clock.h"
#include "net/buffer.h"
#include "net/http/headers.h"
#include "net/http/stream.h"

namespace penstock::http {

class Http2Session;

// What server and client streams share: the body waiting to be sent, pulled by nghttp2 as windows
// allow; the receive window; the handler. Owned by its session; when it ends it lives on until the
// end of the loop's turn, so that nobody up the stack holds a dead one.
class Http2Stream {
 public:
  Http2Stream(Http2Session& session, StreamHandler* handler)
      : session_(session), handler_(handler) {}
  virtual ~Http2Stream() = default;
  Http2Stream(const Http2Stream&) = delete;
  Http2Stream& operator=(const Http2Stream&) = delete;

  std::int32_t id() const { return id_; }

 protected:
  void queueData(net::Buffer& data, bool end_stream);
  void queueTrailers(const Headers& trailers);
  void resetNow(ResetReason reason);
  // What is left of the message has to be taken in this time.
  void startLastBytes();
  bool fitsPeer(const Headers& fields) const;
  // Gives the peer window back. Returns whether that ended a time in which we held the peer back.
  bool giveWindow(std::size_t count);
  // The peer cannot be expected to send: what it sent is not consumed.
  bool holdsPeerBack() const;

  // Body bytes have come.
  virtual void receiveData(std::span<const std::uint8_t> data);

  Http2Session& session_;
  StreamHandler* handler_;  // null: nobody is to be told any more
  net::Buffer unsent_;
  std::unique_ptr<Headers> trailers_;
  std::size_t unconsumed_ = 0;
  std::uint64_t framed_bytes_ = 0;  // of the body, given to the connection
  std::size_t high_watermark_ = Stream::kDefaultHighWatermark;
  TimePoint output_progress_{};                  // while unsent_ is not empty
  TimePoint last_bytes_due_ = TimePoint::max();  // once send_ended_: when unsent_ is to be empty
  std::int32_t id_ = 0;                          // 0: not given to nghttp2 yet
  std::uint32_t index_ = 0;                      // place in the session's list
  StreamEnd failure_ = StreamEnd::kComplete;     // set by Http2Session::failLater
  bool listed_ = false;                          // the session owns it
  bool on_wire_ = false;                         // nghttp2 knows it and neither side has reset it
  bool started_ = false;                         // its first frame may have been written
  bool head_sent_ = false;
  bool read_ended_ = false;
  bool send_ended_ = false;  // asked for; end_sent_: framed
  bool end_sent_ = false;
  bool discard_body_ = false;  // a response that must not have one
  bool peer_reset_ = false;
  bool deferred_ = false;  // nghttp2 waits for resume_data
  bool above_high_ = false;
  bool ready_pending_ = false;
  bool failure_pending_ = false;

 private:
  friend class Http2Session;
  friend struct Http2Callbacks;
  // nghttp2's data source: how many bytes the next DATA frame has, and then its payload.
  ssize_t pull(std::size_t max, std::uint32_t* flags);
  void writePayload(net::Buffer& output, std::size_t count);
  // Of what was to be sent so far, all is in frames.
  bool allFramed() const { return unsent_.empty(); }
};

// Puts the shared half behind one of the two stream interfaces.
template <typename Interface>
class Http2StreamOf : public Interface, public Http2Stream {
 public:
  using Http2Stream::Http2Stream;
  void sendData(net::Buffer& data, bool end_stream) final { queueData(data, end_stream); }
  void sendTrailers(const Headers& trailers) final { queueTrailers(trailers); }
  void reset(ResetReason reason) override { resetNow(reason); }
  bool fits(const Headers& fields) const final { return fitsPeer(fields); }
  std::size_t unsentBytes() const final { return unsent_.size(); }
  void setHighWatermark(std::size_t bytes) final { high_watermark_ = bytes; }
  void consume(std::size_t count) override { giveWindow(count); }
};

}  // namespace penstock::http
