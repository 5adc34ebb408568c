#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/http/body_pace.h"
#include "net/http/codec.h"
#include "net/http/http1_reader.h"
#include "net/http/http1_server_stream.h"

namespace penstock::http {

// HTTP/1.0 and 1.1, the answering side. One request at a time: what a client pipelines waits in a
// small buffer, and reading pauses when that is full; until then reading goes on while a request is
// answered, because that is how a client that has left is noticed. A client that ends its own
// direction either counts as gone or gets its answers (Limits::half_close). Its end looks the same
// in both cases, so one that speaks HTTP/1.1 and waits on is sent "100 Continue", which it may
// always be: a client that has closed its socket answers with a reset. A WebSocket's end is passed
// on. What is sent before a WebSocket is accepted waits like what is pipelined. All timeouts share
// one timer.
class Http1ServerConnection final : public ServerCodec, private Http1ServerStream::Transport {
 public:
  // Reading pauses once so much waits behind the request that is answered.
  static constexpr std::size_t kPipelinedBytes = 16 * 1024;
  // So much of a request is read to save the connection, when its answer came before its end.
  static constexpr std::uint64_t kDrainedBytes = 64 * 1024;

  Http1ServerConnection(net::EventLoop& loop, std::unique_ptr<net::Connection> connection,
                        const Limits& limits, Owner& owner);

  void drain(Idle idle) override;
  void close() override;
  std::size_t activeStreams() const override;
  StreamReservation reserveStream() override { return reserved_.reserve(); }
  Protocol protocol() const override { return http10_ ? Protocol::kHttp10 : Protocol::kHttp11; }
  const net::Connection& connection() const override { return *connection_; }

  void onConnected() override;
  void onBytes(std::span<const std::uint8_t> bytes) override;
  void onFillOutput(net::Buffer& output) override;
  void onPeerClosed() override;
  void onClosed(net::CloseReason reason) override;

 private:
  // The client has ended its direction and is owed an answer.
  struct HalfClosed {
    TimePoint look_at;  // again whether it is still there
    Duration pause{};   // zero: it has not been asked yet
  };

  net::Buffer& output() override { return connection_->output(); }
  std::size_t unwritten() const override { return connection_->unwritten(); }
  void flushLater() override { connection_->flushLater(); }
  bool mayKeepAlive(bool ends) const override;
  void onHeadSent(bool keeps_alive) override { keep_alive_ = keeps_alive; }
  void onAccepted() override;
  void onResponseEnded(bool whole) override;
  void onContinued() override;
  void onPaceLifted() override;
  void onConsumed(std::size_t count) override;
  void onReset(bool flush) override;

  // Whether a connection that has nothing to do closes now.
  bool endsWhenIdle() const { return draining_.has_value() && draining_->idle == Idle::kClose; }
  bool busy() const { return stream_.handler() != nullptr; }
  // Takes bytes off the front of input until the request is complete.
  void process(std::string_view& input);
  void onHead(std::string_view block);
  void onBody(std::string_view bytes, bool last);
  void onRequestEnd();
  void discardBody(std::size_t count);
  // Ends the stream if its response is written, and turns to the next request.
  void finishIfWritten();
  // The client will say no more: what it has said is answered, and then it is over.
  void beginHalfClosed();
  // Ends the connection if the client is owed nothing any more. True: it did.
  bool endHalfClosed();
  void lookAfterHalfClosed(TimePoint now);
  void clientGone();
  void fail(ServerConnection::Rejection why, std::string_view detail);
  void beginClose();
  void closeNow();
  void onWork();
  void onTimer();
  TimePoint nextDue() const;
  void updateTimer() { timer_.arm(nextDue()); }

  net::EventLoop& loop_;
  std::unique_ptr<net::Connection> connection_;
  const Limits& limits_;
  Owner& owner_;
  Http1Reader reader_;
  Http1ServerStream stream_;
  BodyPace pace_;
  net::Timer timer_;
  net::Deferred work_;  // the next pipelined request, or telling the owner of the end
  std::string input_;   // pipelined behind the request that is answered
  std::size_t unconsumed_ = 0;
  std::uint64_t discarded_ = 0;
  std::uint64_t requests_ = 0;
  ReservedStreams reserved_;
  std::optional<TimePoint> head_start_;
  std::optional<HalfClosed> half_closed_;
  TimePoint idle_since_;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool request_done_ = true;
  bool tunnel_ = false;      // the request is an accepted WebSocket
  bool discarding_ = false;  // the response ended first
  bool response_whole_ = true;
  struct Draining {
    TimePoint since;
    Idle idle;
  };
  std::optional<Draining> draining_;
  bool closing_ = false;  // nothing more is read
  bool closed_ = false;   // the owner is to be told
};

}  // namespace penstock::http
