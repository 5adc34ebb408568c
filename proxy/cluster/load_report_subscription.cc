#include "proxy/cluster/load_report_subscription.h"

#include <algorithm>
#include <utility>

#include "base/load_report/load_report_message.h"
#include "net/http/grpc.h"

namespace penstock::proxy {
namespace {

constexpr std::uint32_t kWindowBytes = 64 * 1024;

http::Limits smallLimits(const LoadReportSubscription::Settings& settings) {
  http::Limits limits;
  limits.stream_window = kWindowBytes;
  limits.connection_window = kWindowBytes;
  limits.max_header_bytes = kMaxLoadReportBytes;
  limits.preface_timeout = settings.first_report;
  return limits;
}

}  // namespace

std::string_view toString(LoadReportsEnd end) {
  switch (end) {
    case LoadReportsEnd::kFinished:
      return "finished";
    case LoadReportsEnd::kUnimplemented:
      return "unimplemented";
    case LoadReportsEnd::kRefused:
      return "refused";
    case LoadReportsEnd::kUnreadable:
      return "unreadable";
    case LoadReportsEnd::kTooOften:
      return "too_often";
    case LoadReportsEnd::kSilent:
      return "silent";
    case LoadReportsEnd::kLost:
      return "lost";
  }
  return "?";
}

LoadReportSubscription::LoadReportSubscription(net::EventLoop& loop, const net::Address& address,
                                               const Settings& settings, Listener& listener)
    : loop_(loop),
      address_(address),
      settings_(settings),
      listener_(listener),
      limits_(smallLimits(settings)),
      begin_(loop, [this] { begin(); }),
      overdue_(loop, [this] { end(LoadReportsEnd::kSilent); }) {
  begin_.armAfter(Duration::zero());
}

LoadReportSubscription::~LoadReportSubscription() {
  hangUp();
}

void LoadReportSubscription::begin() {
  began_at_ = loop_.now();
  any_good_report_ = false;
  reports_in_second_ = 0;
  second_began_at_ = began_at_;
  reader_.emplace(kMaxLoadReportBytes);
  overdue_.armAfter(settings_.first_report);
  auto connection = net::Connection::connect(
      loop_, address_, settings_.tls, Deadline::after(began_at_, settings_.first_report),
      {.write_timeout = settings_.first_report, .handshake_timeout = settings_.first_report});
  connection_ = http::ClientConnection::make(loop_, std::move(connection), settings_.protocol,
                                             limits_, *this);
}

void LoadReportSubscription::onReady(http::ClientConnection& connection) {
  if (connection.protocol() != http::Protocol::kHttp2) {
    end(LoadReportsEnd::kUnimplemented);
  } else if (!connection.canOpen()) {
    end(LoadReportsEnd::kRefused);
  } else {
    stream_ = &connection.newStream(*this);
    ask();
  }
}

void LoadReportSubscription::ask() {
  http::RequestHead head;
  head.method = "POST";
  head.scheme = settings_.tls == nullptr ? "http" : "https";
  head.authority = settings_.authority.empty() ? address_.toString() : settings_.authority;
  head.path = kLoadReportStreamPath;
  head.headers.add("content-type", http::kGrpcContentType);
  head.headers.add("te", "trailers");
  head.headers.add("user-agent", "penstock");
  stream_->sendHead(head, false);
  net::Buffer body;
  http::appendGrpcMessage(body, loadReportRequestMessage(settings_.interval));
  stream_->sendData(body, true);
}

void LoadReportSubscription::onResponseHead(http::ResponseHead head, bool end_stream) {
  if (head.status >= 500) {
    end(LoadReportsEnd::kRefused);
  } else if (head.status != 200 || !http::isGrpc(head.headers)) {
    end(LoadReportsEnd::kUnimplemented);
  } else if (end_stream) {
    finish(head.headers.get("grpc-status"));
  }
}

void LoadReportSubscription::onData(std::span<const std::uint8_t> data, bool end_stream) {
  stream_->consume(data.size());
  readReports(data);
  // gRPC ends with trailers.
  if (end_stream && stream_ != nullptr) {
    end(LoadReportsEnd::kUnreadable);
  }
}

void LoadReportSubscription::readReports(std::span<const std::uint8_t> data) {
  using Outcome = http::GrpcMessageReader::Outcome;
  for (;;) {
    switch (reader_->read(data)) {
      case Outcome::kMore:
        return;
      case Outcome::kTooLong:
        listener_.onLoadReport(std::unexpected(LoadReportFault::kTooLong));
        end(LoadReportsEnd::kUnreadable);
        return;
      case Outcome::kCompressed:
        end(LoadReportsEnd::kUnreadable);
        return;
      case Outcome::kMessage:
        break;
    }
    if (tooOften()) {
      end(LoadReportsEnd::kTooOften);
      return;
    }
    const ParsedLoadReport report = parseLoadReportMessage(reader_->message());
    if (report.has_value()) {
      any_good_report_ = true;
      overdue_.armAfter(settings_.silence);
    }
    listener_.onLoadReport(report);
  }
}

bool LoadReportSubscription::tooOften() {
  if (loop_.now() - second_began_at_ >= std::chrono::seconds(1)) {
    second_began_at_ = loop_.now();
    reports_in_second_ = 0;
  }
  return ++reports_in_second_ > kMostReportsPerSecond;
}

void LoadReportSubscription::onTrailers(http::Headers trailers) {
  finish(trailers.get("grpc-status"));
}

void LoadReportSubscription::finish(std::optional<std::string_view> grpc_status) {
  if (!grpc_status.has_value() || !reader_->atBoundary()) {
    end(LoadReportsEnd::kUnreadable);
  } else if (http::isGrpcStatus(*grpc_status, http::GrpcStatus::kOk)) {
    end(LoadReportsEnd::kFinished);
  } else {
    end(http::isGrpcStatus(*grpc_status, http::GrpcStatus::kUnimplemented)
            ? LoadReportsEnd::kUnimplemented
            : LoadReportsEnd::kRefused);
  }
}

void LoadReportSubscription::onEnd(http::StreamEnd) {
  stream_ = nullptr;
  end(LoadReportsEnd::kLost);
}

void LoadReportSubscription::onConnectionClosed(http::ClientConnection&, net::CloseReason) {
  if (connection_ != nullptr) {
    end(LoadReportsEnd::kLost);
  }
}

void LoadReportSubscription::onNotHttp2(http::ClientConnection&, http::NotHttp2 how) {
  loop_.destroyLater(std::move(connection_));
  end(how == http::NotHttp2::kSaid ? LoadReportsEnd::kUnimplemented : LoadReportsEnd::kLost);
}

void LoadReportSubscription::end(LoadReportsEnd why) {
  hangUp();
  const bool lasted = any_good_report_ && loop_.now() - began_at_ > pause_;
  if (why == LoadReportsEnd::kUnimplemented) {
    pause_ = settings_.longest_pause;
  } else {
    pause_ = lasted ? settings_.shortest_pause
                    : std::clamp(2 * pause_, settings_.shortest_pause, settings_.longest_pause);
  }
  begin_.armAfter(pause_);
  listener_.onLoadReportsEnd(why, pause_);
}

void LoadReportSubscription::hangUp() {
  overdue_.disarm();
  if (http::ClientStream* stream = std::exchange(stream_, nullptr)) {
    stream->reset(http::ResetReason::kCancel);
  }
  if (connection_ != nullptr) {
    connection_->close();
    loop_.destroyLater(std::move(connection_));
  }
}

}  // namespace penstock::proxy
