#pragma once

#include "proxy/config/config.h"
#include "proxy/filters/access_log/access_log.h"
#include "proxy/http/exchange.h"

namespace penstock::proxy {

struct AccessLogEntry;

void writeAccessLog(AccessLog& log, AccessLogFormat format, const AccessLogEntry& entry);

// Writes one line when an exchange has ended.
class AccessLogFilter final : public Filter {
 public:
  AccessLogFilter(Exchange& exchange, AccessLog& log, AccessLogFormat format)
      : exchange_(exchange), log_(log), format_(format) {}

  void onExchangeEnd(const ExchangeReport& report) override;

 private:
  Exchange& exchange_;
  AccessLog& log_;
  const AccessLogFormat format_;
};

}  // namespace penstock::proxy
