#pragma once

#include <string>
#include <string_view>

#include "net/http/headers.h"
#include "proxy/http/exchange_report.h"

namespace penstock::proxy {

// What a line of the access log is made from.
struct AccessLogEntry {
  const http::RequestHead& head;
  http::Protocol protocol;
  std::string_view client;   // address
  std::string_view cluster;  // empty if no route matched
  const ExchangeReport& report;
};

// Envoy's default format, with the reason as response flags, followed by what Envoy has no field
// for:
//   [start time] "method path protocol" status flags received sent duration_ms upstream_ms
//   "x-forwarded-for" "user agent" "request id" "authority" "replica" waited_ms=… attempts=…
// "-" stands for what is absent; quotes, backslashes and control characters are escaped; fields are
// cut at 1 KiB.
std::string formatDefault(const AccessLogEntry& entry);

// The same as one JSON object.
std::string formatJson(const AccessLogEntry& entry);

}  // namespace penstock::proxy
