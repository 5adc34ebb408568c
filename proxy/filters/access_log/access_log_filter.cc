#include "proxy/filters/access_log/access_log_filter.h"

#include "proxy/filters/access_log/access_log_format.h"

namespace penstock::proxy {

void AccessLogFilter::onExchangeEnd(const ExchangeReport& report) {
  const std::string client = exchange_.peer().toString();
  const AccessLogEntry entry{.head = exchange_.requestHead(),
                             .protocol = exchange_.protocol(),
                             .client = client,
                             .cluster = exchange_.clusterName(),
                             .report = report};
  log_.add(format_ == AccessLogFormat::kJson ? formatJson(entry) : formatDefault(entry));
}

}  // namespace penstock::proxy
