#include "proxy/filters/access_log/access_log_filter.h"

#include "proxy/filters/access_log/access_log_format.h"

namespace penstock::proxy {

void writeAccessLog(AccessLog& log, AccessLogFormat format, const AccessLogEntry& entry) {
  log.add(format == AccessLogFormat::kJson ? formatJson(entry) : formatDefault(entry));
}

void AccessLogFilter::onExchangeEnd(const ExchangeReport& report) {
  const AccessLogEntry entry{.head = exchange_.requestHead(),
                             .protocol = exchange_.protocol(),
                             .client = exchange_.client().text,
                             .cluster = exchange_.clusterName(),
                             .report = report};
  writeAccessLog(log_, format_, entry);
}

}  // namespace penstock::proxy
