#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/load_report/load_report.h"

// Load reports as a response's field, ORCA's in-band form: "TEXT name=value,…" or "JSON {…}".
namespace penstock {

inline constexpr std::string_view kLoadReportHeader = "endpoint-load-metrics";
// Of a request: which form its author would like, "TEXT" or "JSON".
inline constexpr std::string_view kLoadReportFormatHeader = "endpoint-load-metrics-format";

enum class LoadReportFormat { kText, kJson };
// Nothing for any other word; letter case does not matter.
std::optional<LoadReportFormat> parseLoadReportFormat(std::string_view word);

std::string toHeader(const LoadReport& report, LoadReportFormat format);
// The prefix may be missing, a colon may stand for the equals sign (as old servers have it), and
// names that ORCA does not know are ignored.
ParsedLoadReport parseLoadReportHeader(std::string_view value);

}  // namespace penstock
