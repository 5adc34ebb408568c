#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/deadline.h"
#include "model_runtime/runtime.h"
#include "net/http/stream.h"
#include "sidecar/reply.h"
#include "sidecar/route.h"

namespace penstock::sidecar {

class Service;

// One request on one stream: reads it whole, has it run, answers. It ends when both the stream and
// the work have ended, whichever is later: work whose client has gone is cancelled and waited for.
// Owned by the service; loop thread only.
class Exchange final : public http::RequestHandler {
 public:
  // Counts this exchange's work as a stream of its connection, until the returned function is
  // called.
  using Linger = std::move_only_function<std::move_only_function<void()>()>;

  Exchange(Service& service, std::uint64_t id, http::ServerStream& stream, Linger linger);
  ~Exchange() override;

  std::uint64_t id() const { return id_; }
  // Somebody else asks that it be given up; it answers 499 once its work has ended.
  void cancel();
  void onOutcome(runtime::Outcome outcome);

  void onRequestHead(http::RequestHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override {}
  void onEnd(http::StreamEnd end) override;

 private:
  void beginPredict(const http::RequestHead& head, bool end_stream);
  void cancelOther(const http::RequestHead& head);
  void run();
  void hold(std::size_t bytes);
  void refuse(Refusal refusal, std::string_view message = {});
  void send(Reply reply);

  Service& service_;
  const std::uint64_t id_;
  http::ServerStream* stream_;  // null once it has ended
  Linger linger_;
  std::move_only_function<void()> stop_lingering_;

  bool head_only_ = false;  // HEAD
  bool answered_ = false;
  bool reading_ = false;  // a body to be run
  bool running_ = false;  // the runtime has it
  runtime::RequestHandle work_;
  runtime::Input input_;
  std::string request_id_;
  std::string attempt_id_;
  Deadline deadline_ = Deadline::never();
  std::size_t held_bytes_ = 0;
};

}  // namespace penstock::sidecar
