#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/load_report/load_report.h"

// Load reports as protobuf messages, ORCA's out-of-band form (see orca.proto).
namespace penstock {

// Of "OpenRcaService/StreamCoreMetrics": the path of the gRPC request.
inline constexpr std::string_view kLoadReportStreamPath =
    "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

std::string toMessage(const LoadReport& report);
ParsedLoadReport parseLoadReportMessage(std::string_view message);

// What is asked of the stream: how often to report while nothing changes.
std::string loadReportRequestMessage(Duration interval);
// Nothing if it is no such message; zero if it names no interval (or one that is none).
std::optional<Duration> parseLoadReportRequest(std::string_view message);

}  // namespace penstock
