#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/load_report/load_report.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/client_connection.h"
#include "net/http/grpc_message.h"
#include "net/tls.h"

namespace penstock::proxy {

// How a stream of load reports ended.
enum class LoadReportsEnd : std::uint8_t {
  kFinished,       // the replica ended it as it should
  kUnimplemented,  // there is no such service, or no HTTP/2
  kRefused,        // another status
  kUnreadable,     // no gRPC, or a message longer than any report
  kTooOften,       // more reports than anybody asks for
  kSilent,         // no report that can be believed, for too long
  kLost,           // could not be connected to, or the connection broke
};
inline constexpr std::size_t kLoadReportsEnds = 7;
// "finished", …: the label of a metric.
std::string_view toString(LoadReportsEnd end);

// Subscribes to the load reports of one replica (ORCA's StreamCoreMetrics) on a connection of its
// own, and does so again whenever the stream has ended, after 1, 2, 4 … 30 s. A stream that lasted
// longer than the pause before it starts that count anew; where there is no such service, the pause
// is the longest at once. Bounded, whatever the replica sends: one message of at most
// kMaxLoadReportBytes at a time, so many a second, and a time by which the next good one has come.
// Loop thread only.
class LoadReportSubscription final : private http::ClientConnection::Owner,
                                     private http::ResponseHandler {
 public:
  struct Settings {
    http::UpstreamProtocol protocol = http::UpstreamProtocol::kAuto;
    const net::TlsContext* tls = nullptr;  // outlives the subscription
    std::string authority = {};            // empty: the address
    Duration interval = std::chrono::seconds(1);
    Duration first_report = std::chrono::seconds(5);  // counted from when it begins to connect
    Duration silence = std::chrono::seconds(3);       // from one report to the next
    Duration shortest_pause = std::chrono::seconds(1);
    Duration longest_pause = std::chrono::seconds(30);
  };
  // Who hears of it; must not destroy the subscription in these calls.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void onLoadReport(const ParsedLoadReport& report) = 0;
    virtual void onLoadReportsEnd(LoadReportsEnd end, Duration pause) = 0;
  };
  static constexpr std::uint32_t kMostReportsPerSecond = 100;

  // The listener outlives it. Connects in the next turn.
  LoadReportSubscription(net::EventLoop& loop, const net::Address& address,
                         const Settings& settings, Listener& listener);
  ~LoadReportSubscription() override;

 private:
  void begin();
  void ask();
  void readReports(std::span<const std::uint8_t> data);
  bool tooOften();
  void finish(std::optional<std::string_view> grpc_status);
  void end(LoadReportsEnd why);
  void hangUp();

  void onReady(http::ClientConnection& connection) override;
  void onCapacity(http::ClientConnection&) override {}
  void onDraining(http::ClientConnection&) override {}
  void onConnectionClosed(http::ClientConnection&, net::CloseReason) override;
  void onNotHttp2(http::ClientConnection&, http::NotHttp2 how) override;

  void onInformational(http::ResponseHead) override {}
  void onResponseHead(http::ResponseHead head, bool end_stream) override;
  void onData(std::span<const std::uint8_t> data, bool end_stream) override;
  void onTrailers(http::Headers trailers) override;
  void onSendReady() override {}
  void onEnd(http::StreamEnd end) override;

  net::EventLoop& loop_;
  const net::Address address_;
  const Settings settings_;
  Listener& listener_;
  http::Limits limits_;
  net::Timer begin_;
  net::Timer overdue_;
  Duration pause_{};  // the one before this attempt
  TimePoint began_at_{};
  bool any_good_report_ = false;
  TimePoint second_began_at_{};
  std::uint32_t reports_in_second_ = 0;
  std::optional<http::GrpcMessageReader> reader_;
  std::unique_ptr<http::ClientConnection> connection_;
  http::ClientStream* stream_ = nullptr;
};

}  // namespace penstock::proxy
