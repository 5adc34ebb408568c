#pragma once

#include <string_view>

#include "base/load_report/load_report.h"

namespace penstock {

// The JSON object of an in-band report: protobuf's mapping of ORCA's message, names in either of
// its spellings.
ParsedLoadReport parseLoadReportJson(std::string_view json);

}  // namespace penstock
