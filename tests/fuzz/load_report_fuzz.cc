// A load report, in the form of a field's value and of a message: what is believed is finite and
// within bounds, and says the same when it is written and read again.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/load_report/load_report_fields.h"
#include "base/load_report/load_report_header.h"
#include "base/load_report/load_report_message.h"

namespace penstock {
namespace {

void believe(const ParsedLoadReport& parsed) {
  if (!parsed.has_value()) {
    PENSTOCK_CHECK(toString(parsed.error()) != "?", "a refused report has a reason");
    return;
  }
  forEachMetric(*parsed, [](MetricGroup, std::string_view, double value) {
    PENSTOCK_CHECK(std::isfinite(value) && value >= 0 && value <= 1e15, "a number is believable");
  });
  PENSTOCK_CHECK(parseLoadReportMessage(toMessage(*parsed)) == parsed, "a message says the same");
  for (const LoadReportFormat format : {LoadReportFormat::kText, LoadReportFormat::kJson}) {
    PENSTOCK_CHECK(parseLoadReportHeader(toHeader(*parsed, format)) == parsed,
                   "a header says the same");
  }
}

}  // namespace
}  // namespace penstock

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  penstock::believe(penstock::parseLoadReportHeader(bytes));
  penstock::believe(penstock::parseLoadReportMessage(bytes));
  penstock::parseLoadReportRequest(bytes);
  return 0;
}
