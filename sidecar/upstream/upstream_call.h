#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/log.h"
#include "model_runtime/lane_idle.h"
#include "model_runtime/predict_gate.h"
#include "model_runtime/runtime_metrics.h"
#include "net/event_loop.h"
#include "net/http/connection_pool.h"
#include "net/http/stream.h"
#include "sidecar/executor.h"
#include "sidecar/model_config.h"
#include "sidecar/upstream/away_server.h"
#include "sidecar/upstream/forwarding.h"

namespace penstock::sidecar {

// One request at the model server: waits at the gate if it is inference, is sent, and its response
// handed to the listener as it comes. The permit is held from the grant until the response has come
// whole from the server, or until its stream has ended otherwise. Loop thread only.
class UpstreamCall final : public runtime::PredictGate::Waiter,
                           private http::StreamWaiter,
                           private AwayServer::Waiter,
                           private http::ResponseHandler {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // It has ended: it is forgotten, and freed with EventLoop::destroyLater.
    virtual void onCallEnded(UpstreamCall& call) = 0;
  };

  // What calls have in common; outlives them.
  struct Shared {
    net::EventLoop& loop;
    Logger& log;
    runtime::PredictGate& gate;
    runtime::LaneIdle& idle_lanes;
    runtime::RuntimeMetrics& metrics;
    http::ConnectionPool& pool;
    AwayServer& away;
    const UpstreamModel& model;
    Duration gate_timeout;
    Owner& owner;
  };

  // The work has a request id.
  UpstreamCall(Shared& shared, Executor::Id id, Work work, Forwarding forwarding,
               Executor::Listener& listener);
  ~UpstreamCall() override;

  Executor::Id id() const { return id_; }

  // Takes its place at the gate, or is sent. Refused: the listener hears nothing.
  std::optional<Refusal> start();
  void onGrant(runtime::PredictGate::Permit permit);

  // As in Executor.
  void cancel();
  void sendData(std::span<const std::uint8_t> data, bool end);
  void consumed(std::size_t bytes);

  // The server is gone, and with it whatever it did. It is not in the gate's queue.
  void fail();
  // Whether it is at the server: what that has sent before its end is still to be read.
  bool running() const { return state_ == State::kRunning; }
  // Leaves the gate's queue, if it is in it; to be failed or destroyed next.
  void leaveGate() { shared_.gate.leave(*this); }

 private:
  enum class State { kAtGate, kConnecting, kRunning, kEnding };

  void onConnection(http::ClientConnection& connection) override;
  void onConnectFailed(net::CloseReason reason, std::string_view why) override;
  void onNoStream() override;
  void onTryAgain() override { shared_.pool.wait(*this); }
  void onInformational(http::ResponseHead) override {}
  void onResponseHead(http::ResponseHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override;
  void onEnd(http::StreamEnd end) override;

  void prepareHead();
  void connect();
  // Waits for a server that is perhaps on its way back, within bounds, or ends.
  void awaitServer(std::string_view why);
  void stopConnecting();
  void sendMore();
  void creditRequest();
  bool requestSent() const;
  void openWindow();
  void responseEnded();
  void onTimer();
  // Nobody wants the response; the listener is told why when the call has ended.
  void abandon(Refusal why);
  void endLater(Refusal why);
  void failed(http::StreamEnd end);
  void succeed();
  void refuse(Refusal why);
  // What both have in common; the call is freed at the end of this turn.
  void end(const runtime::Outcome& outcome);
  void resetStream(http::ResetReason reason);

  Shared& shared_;
  const Executor::Id id_;
  Work work_;
  const Forwarding forwarding_;
  Executor::Listener& listener_;
  State state_ = State::kAtGate;
  std::optional<runtime::PredictGate::Permit> permit_;
  TimePoint since_{};  // at the gate, then at the server
  bool begun_ = false;
  runtime::LaneIdle::Position position_;
  bool retried_ = false;
  // From the first time that the server took no connection. Nothing for a proxy's request.
  std::optional<Duration> patience_;
  std::optional<Deadline> give_up_;
  http::ClientStream* stream_ = nullptr;
  http::Protocol protocol_{};  // of its connection
  net::Timer timer_;

  // The request. What of work_.body has been given to the stream: all before it.
  std::size_t sent_ = 0;
  bool body_ended_ = false;  // nothing comes after work_.body, or after what was sent
  std::size_t uncredited_ = 0;
  net::Deferred credit_;

  // The response.
  bool head_seen_ = false;
  bool response_ended_ = false;
  std::size_t unread_ = 0;                   // with the listener
  std::size_t unconsumed_ = 0;               // for which the server has no new window yet
  std::optional<http::ResponseHead> whole_;  // a response without a body
  int status_ = 0;
  http::Headers trailers_;
  std::optional<Refusal> abandoned_;
};

}  // namespace penstock::sidecar
