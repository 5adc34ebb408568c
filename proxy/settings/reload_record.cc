#include "proxy/settings/reload_record.h"

#include <utility>

namespace penstock::proxy {

ReloadRecord::ReloadRecord(std::string file, Metrics& metrics, Logger& log)
    : file_(std::move(file)), log_(log) {
  constexpr const char* kName = "penstock_config_reloads_total";
  constexpr const char* kHelp = "Reloads of the configuration file (SIGHUP).";
  succeeded_ = metrics.counter(kName, kHelp, {{"result", "success"}});
  failed_ = metrics.counter(kName, kHelp, {{"result", "failure"}});
  last_success_ = metrics.gauge("penstock_config_last_reload_success",
                                "Whether the file as it was last read is the one in effect.", {});
  last_success_.set(1);
}

void ReloadRecord::add(const Result<void>& result, TimePoint now) {
  (result ? succeeded_ : failed_).add();
  last_success_.set(result ? 1 : 0);
  ++(result ? status_.succeeded : status_.failed);
  status_.last = now;
  status_.last_error = result ? "" : result.error().message;
  if (result) {
    log_.info("configuration reloaded", {{"file", file_}});
  } else {
    log_.error("configuration not reloaded, the old one stays",
               {{"file", file_}, {"error", result.error().message}});
  }
}

}  // namespace penstock::proxy
