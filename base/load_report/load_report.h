#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

// What a replica says about itself, in ORCA's terms (Open Request Cost Aggregation), with what
// Penstock adds under "penstock.*". Shares are 0 to 1 unless noted. A value; whatever came from
// outside has been checked: every number is finite and within its bounds.
struct LoadReport {
  struct Metric {
    std::string name;
    double value = 0;
    bool operator==(const Metric&) const = default;
  };

  double cpu_utilization = 0;  // of what the replica may use; may exceed 1
  double mem_utilization = 0;
  double application_utilization = 0;  // (in flight + waiting at the gate) / limit; may exceed 1
  double rps = 0;                      // requests a second
  double eps = 0;                      // errors a second
  std::vector<Metric> utilization;
  std::vector<Metric> request_cost;

  std::optional<std::uint32_t> in_flight;
  std::optional<std::uint32_t> limit;  // the sidecar's own, 0: none
  std::optional<std::uint32_t> predict_in_flight;
  std::optional<std::uint32_t> predict_concurrency;
  std::optional<std::uint32_t> gate_waiting;
  std::optional<double> gate_busy;
  std::optional<double> gate_idle_no_request;
  std::optional<double> gate_idle_preprocess;
  std::optional<double> gate_idle_hand_over;
  std::optional<double> gpu_utilization;
  std::optional<double> gpu_memory;
  bool draining = false;
  std::optional<std::uint64_t> incarnation;  // of the process: a random number, made at its start

  bool operator==(const LoadReport&) const = default;
};

// Why a report is refused. It is refused as a whole: one wrong number says that its author is
// confused, and half a report would mislead.
enum class LoadReportFault {
  kTooLong,     // more bytes, or more metrics, than any honest report has
  kSyntax,      // neither form, or no message
  kWrongType,   // a string where a number belongs, half a request
  kNotFinite,   // NaN or an infinity
  kOutOfRange,  // negative, or beyond what the metric can be
  kDuplicate,   // a key that comes twice
};
inline constexpr std::size_t kLoadReportFaults = 6;
// "too_long", …: the label of a metric.
std::string_view toString(LoadReportFault fault);

using ParsedLoadReport = std::expected<LoadReport, LoadReportFault>;

inline constexpr std::size_t kMaxLoadReportBytes = 16 * 1024;
inline constexpr std::size_t kMaxLoadReportMetrics = 64;
inline constexpr std::size_t kMaxLoadReportNameBytes = 128;

}  // namespace penstock
