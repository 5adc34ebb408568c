#include "proxy/filters/access_log/access_log_filter.h"

#include "proxy/filters/access_log/access_log_format.h"

namespace penstock::proxy {

void AccessLogFilter::onExchangeEnd(const ExchangeReport& report) {
  const AccessLogEntry entry{.head = exchange_.requestHead(),
                             .protocol = exchange_.protocol(),
                             .client = exchange_.client().text,
                             .cluster = exchange_.clusterName(),
                             .report = report};
  log_.add(format_ == AccessLogFormat::kJson ? formatJson(entry) : formatDefault(entry));
}

}  // namespace penstock::proxy
