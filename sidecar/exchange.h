#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/load_report/load_report_header.h"
#include "net/event_loop.h"
#include "net/http/stream.h"
#include "net/http/stream_reservation.h"
#include "sidecar/executor.h"
#include "sidecar/load_report_stream.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

class Service;

// One request on one stream: has it run by the executor, and answers. It ends when both the stream
// and the work have ended, whichever is later: work whose client has gone is cancelled and waited
// for. A response that its client does not read stops the executor after a bounded number of bytes,
// and is given up when nothing of it moves for the write timeout. Owned by the service; loop thread
// only.
class Exchange final : public http::RequestHandler, private Executor::Listener {
 public:
  // Counts this exchange's work as a stream of its connection, until the returned function is
  // called.
  // Called while the stream ends.
  using ReserveStream = std::move_only_function<http::StreamReservation()>;

  Exchange(Service& service, std::uint64_t id, http::ServerStream& stream,
           ReserveStream reserve_stream, const std::optional<Ends>& ends);
  ~Exchange() override;

  std::uint64_t id() const { return id_; }
  // Somebody else asks that it be given up; it answers 499 once its work has ended.
  void cancel();

  void onRequestHead(http::RequestHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override;
  void onEnd(http::StreamEnd end) override;

 private:
  void onReply(Reply reply) override;
  void onHead(http::ResponseHead head) override;
  void onData(std::string_view data) override;
  void onFinished(const http::Headers& trailers) override;
  void onAborted(Refusal why) override;
  void onGivenUp(Refusal why) override;
  void onConsumed(std::size_t bytes) override;
  bool hold(std::size_t bytes) override;
  void release(std::size_t bytes) override;

  void begin(http::RequestHead head, bool end_stream);
  bool readLimits(const http::RequestHead& head);
  // Why a body of that size would be refused if it were here now, as far as that is known.
  std::optional<Refusal> refusalBeforeBody(std::uint64_t body_bytes) const;
  void cancelOther(const http::RequestHead& head);
  void askReadiness();
  void answerReadiness(bool healthy);
  void run();
  void workEnded();
  void onStalled();
  void giveUp(Refusal why);
  void creditSent();
  void refuse(Refusal refusal, std::string_view message = {});
  void send(Reply reply);
  void addOwnFields(http::Headers& headers) const;

  Service& service_;
  const std::uint64_t id_;
  http::ServerStream* stream_;  // null once it has ended
  ReserveStream reserve_stream_;
  http::StreamReservation reservation_;  // while work outlives the stream

  std::optional<LoadReportStream> reports_;  // it is a subscription, and nothing else
  std::optional<LoadReportFormat> report_format_;
  bool head_only_ = false;  // HEAD
  // Of the response, what the client gets: nothing yet, or the model's, or a refusal in the place
  // of the model's, of which the rest is dropped.
  enum class Answer { kNone, kGiven, kReplaced } answer_ = Answer::kNone;
  bool reading_ = false;  // a body to be run
  bool running_ = false;  // the executor has it
  ErrorStyle error_style_ = ErrorStyle::kOwn;
  Intake intake_ = Intake::kWhole;
  Executor::Id work_id_ = 0;
  Work work_;
  std::string request_id_;
  std::string attempt_id_;
  std::size_t held_bytes_ = 0;
  std::size_t sent_bytes_ = 0;  // of a streamed response, given to the stream
  std::size_t written_when_stalled_ = 0;
  std::size_t uncredited_bytes_ = 0;
  std::optional<net::Timer> stalled_;
  std::optional<net::Deferred> abort_;
};

}  // namespace penstock::sidecar
