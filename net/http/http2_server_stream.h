#pragma once

#include <span>
#include <string>

#include "net/http/http2_stream.h"
#include "net/http/limits.h"

namespace penstock::http {

// A request on an HTTP/2 connection, and what keeps its sender from taking for ever.
class Http2ServerStream final : public Http2StreamOf<ServerStream> {
 public:
  enum class Overdue { kNothing, kBody, kOutput };
  struct DeadlineCheck {
    Overdue overdue = Overdue::kNothing;
    TimePoint next = TimePoint::max();  // when to look again
  };

  explicit Http2ServerStream(Http2Session& session) : Http2StreamOf(session, nullptr) {
    // Requests have started by nature: what is lost now may have been executed.
    started_ = true;
    on_wire_ = true;
  }

  void sendInformational(int status, const Headers& headers) override;
  void sendContinue() override;
  bool awaitsContinue() const override {
    return body_clock_ == BodyClock::kUntilContinue && !head_sent_;
  }
  void liftBodyPace() override;
  void sendHead(const ResponseHead& head, bool end_stream) override;
  std::uint64_t bodyBytesSent() const override;
  void consume(std::size_t count) override;

  // Says what is too slow. Bytes that we hold back ourselves, or that the client holds back until
  // it is told to continue, are not late; nor is any once the response has begun.
  DeadlineCheck checkDeadlines(TimePoint now);

 private:
  friend class Http2ServerConnection;
  enum class BodyClock {
    kRuns,
    kUntilContinue,  // the client sends no body before it is told so
    kLifted,
  };

  void receiveData(std::span<const std::uint8_t> data) override;
  bool awaitsBody() const;
  void startBodyClock();

  TimePoint body_progress_{};
  TimePoint rate_from_{};
  std::uint64_t rate_bytes_ = 0;
  bool request_seen_ = false;  // header blocks from now on are trailers
  bool is_head_request_ = false;
  bool is_websocket_ = false;
  BodyClock body_clock_ = BodyClock::kRuns;
};

}  // namespace penstock::http
