#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"

namespace penstock::proxy {

// How the reloads of the configuration went.
struct ReloadStatus {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::optional<TimePoint> last;
  std::string last_error;  // empty: the last one succeeded, or there was none
};

// Tells the log, the metrics and /server_info how each reload went. Main loop only; the log and the
// metrics outlive it.
class ReloadRecord {
 public:
  ReloadRecord(std::string file, Metrics& metrics, Logger& log);

  void add(const Result<void>& result, TimePoint now);
  const ReloadStatus& status() const { return status_; }
  const std::string& file() const { return file_; }

 private:
  const std::string file_;
  Logger& log_;
  Counter succeeded_;
  Counter failed_;
  Gauge last_success_;
  ReloadStatus status_;
};

}  // namespace penstock::proxy
