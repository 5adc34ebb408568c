#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/load_report/load_report.h"
#include "net/event_loop.h"
#include "net/http/grpc.h"
#include "net/http/grpc_message.h"
#include "net/http/stream.h"

namespace penstock::sidecar {

class LoadReporter;

// One subscriber of load reports (ORCA's StreamCoreMetrics, over gRPC): a report at once, one at
// each interval without another, and what the reporter pushes. A subscriber that does not read
// misses reports. Its exchange owns it, passes on what the stream says and destroys it when the
// stream has ended. Loop thread only.
class LoadReportStream {
 public:
  LoadReportStream(LoadReporter& reporter, http::ServerStream& stream);
  ~LoadReportStream();
  LoadReportStream(const LoadReportStream&) = delete;
  LoadReportStream& operator=(const LoadReportStream&) = delete;

  void begin(const http::RequestHead& head, bool end_stream);
  void onData(std::span<const std::uint8_t> data, bool end_stream);
  void onRequestEnd();

  void send(const LoadReport& report);
  // Ends the stream as it should end.
  void finish() { end(http::GrpcStatus::kOk, {}); }

 private:
  void subscribe(Duration interval);
  void sendDue();
  void end(http::GrpcStatus status, std::string_view message);

  LoadReporter& reporter_;
  http::ServerStream& stream_;
  http::GrpcMessageReader reader_;
  std::optional<Duration> asked_;  // of the request, once it has come
  bool subscribed_ = false;
  bool head_sent_ = false;
  bool ended_ = false;
  Duration interval_{};
  net::Timer due_;
};

}  // namespace penstock::sidecar
