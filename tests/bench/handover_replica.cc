// A replica for the hand-over measurement. It serves HTTP/1.1 and HTTP/2, works a fixed time on
// each request, and takes the time from the moment at which it gives an answer away to the moment
// at which the first byte of the next request reaches it. With one slot and somebody always
// waiting, that is what a freed slot costs. GET /report tells what it saw: samples, p50 and p99 in
// microseconds, the most requests it ever had at once.
//
// usage: handover_replica PORT WORK_MICROSECONDS

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/server_connection.h"
#include "net/listener.h"

namespace penstock {
namespace {

// What the replica saw, in its own time.
class Record {
 public:
  explicit Record(const Clock& clock) : clock_(clock) {}

  void requestCame() {
    if (freed_.has_value()) {
      gaps_.push_back(clock_.now() - *freed_);
      freed_.reset();
    }
    most_ = std::max(most_, ++in_flight_);
  }
  void requestAnswered() {
    --in_flight_;
    freed_ = clock_.now();
  }
  std::string report() {
    std::sort(gaps_.begin(), gaps_.end());
    return std::to_string(gaps_.size()) + " " + std::to_string(percentile(50)) + " " +
           std::to_string(percentile(99)) + " " + std::to_string(most_) + "\n";
  }

 private:
  double percentile(std::size_t percent) const {
    if (gaps_.empty()) {
      return 0;
    }
    const std::size_t index = std::min(gaps_.size() - 1, gaps_.size() * percent / 100);
    return std::chrono::duration<double, std::micro>(gaps_[index]).count();
  }

  const Clock& clock_;
  std::vector<Duration> gaps_;
  std::optional<TimePoint> freed_;
  int in_flight_ = 0;
  int most_ = 0;
};

// Accepts connections and answers what comes.
class Replica final : net::Listener::Handler, http::ServerConnection::Owner {
 public:
  Replica(net::EventLoop& loop, net::UniqueFd fd, Duration work)
      : loop_(loop), work_(work), record_(loop.clock()), listener_(loop, std::move(fd), *this) {
    limits_.idle_timeout = std::chrono::hours(1);
    limits_.max_streams = 20'000;
  }

 private:
  // One request: works, then answers.
  class Request final : public http::RequestHandler {
   public:
    Request(Replica& replica, http::ServerStream& stream)
        : replica_(replica), stream_(stream), done_(replica.loop_, [this] { answer(); }) {}

    void onRequestHead(http::RequestHead head, bool end_stream) override {
      is_report_ = head.path == "/report";
      if (!is_report_) {
        replica_.record_.requestCame();
      }
      if (end_stream) {
        begin();
      }
    }
    void onData(std::span<const std::uint8_t> data, bool end_stream) override {
      stream_.consume(data.size());
      if (end_stream) {
        begin();
      }
    }
    void onTrailers(http::Headers /*trailers*/) override { begin(); }
    void onSendReady() override {}
    void onEnd(http::StreamEnd /*end*/) override {
      const auto self = replica_.requests_.find(this);
      replica_.loop_.destroyLater(std::move(self->second));
      replica_.requests_.erase(self);
    }

   private:
    void begin() {
      if (is_report_) {
        answer();
      } else {
        done_.arm(replica_.loop_.clock().now() + replica_.work_);
      }
    }
    void answer() {
      const std::string body = is_report_ ? replica_.record_.report() : "ok\n";
      http::ResponseHead head;
      head.content_length = body.size();
      net::Buffer data;
      data.append(body);
      stream_.sendHead(head, false);
      stream_.sendData(data, true);
      if (!is_report_) {
        replica_.record_.requestAnswered();
      }
    }

    Replica& replica_;
    http::ServerStream& stream_;
    net::Timer done_;
    bool is_report_ = false;
  };

  void onAccept(net::UniqueFd fd, const net::Address& peer) override {
    auto made = http::ServerConnection::make(
        loop_,
        std::make_unique<net::Connection>(loop_, std::move(fd), peer, nullptr,
                                          net::Connection::Options{}),
        limits_, *this);
    http::ServerConnection* connection = made.get();
    connections_.emplace(connection, std::move(made));
  }
  void onExhausted() override {}
  http::RequestHandler* onStream(http::ServerStream& stream) override {
    auto request = std::make_unique<Request>(*this, stream);
    Request* handler = request.get();
    requests_.emplace(handler, std::move(request));
    return handler;
  }
  http::ResponseHead rejectRequest(http::ServerConnection::Rejection /*why*/,
                                   std::string_view detail, std::string& body) override {
    body = detail;
    http::ResponseHead head;
    head.status = 400;
    return head;
  }
  void onConnectionClosed(http::ServerConnection& connection) override {
    const auto closed = connections_.find(&connection);
    loop_.destroyLater(std::move(closed->second));
    connections_.erase(closed);
  }

  net::EventLoop& loop_;
  const Duration work_;
  http::Limits limits_;
  Record record_;
  std::unordered_map<http::RequestHandler*, std::unique_ptr<Request>> requests_;
  std::unordered_map<http::ServerConnection*, std::unique_ptr<http::ServerConnection>> connections_;
  net::Listener listener_;
};

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

int serve(unsigned port, Duration work) {
  const SteadyClock clock;
  net::EventLoop loop(clock);
  auto fd = net::listenOn(net::Address::loopback(static_cast<std::uint16_t>(port)), false);
  if (!fd.has_value()) {
    std::fprintf(stderr, "%s\n", fd.error().message.c_str());
    return 1;
  }
  const Replica replica(loop, std::move(*fd), work);
  const net::SignalWatch terminated(loop, SIGTERM, [&loop] { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  const auto port = argc == 3 ? penstock::number(argv[1]) : std::nullopt;
  const auto work_us = argc == 3 ? penstock::number(argv[2]) : std::nullopt;
  if (!port.has_value() || !work_us.has_value()) {
    std::fprintf(stderr, "usage: handover_replica PORT WORK_MICROSECONDS\n");
    return 2;
  }
  return penstock::serve(*port, std::chrono::microseconds(*work_us));
}
