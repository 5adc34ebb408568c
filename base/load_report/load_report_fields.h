#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "base/load_report/load_report.h"

namespace penstock {

// Where a metric stands in an ORCA report: beside the others, or in one of its maps.
enum class MetricGroup { kTop, kRequestCost, kUtilization, kNamed };

// Makes a report of named numbers, whatever form they came in, and is the one place that says which
// numbers are believed. Unknown names are checked like others and then dropped. Allocates nothing
// for what Penstock's own reports contain. One thread.
class LoadReportBuilder {
 public:
  // name must be valid until finish().
  void add(MetricGroup group, std::string_view name, double value);
  // The first fault is the one that counts.
  void refuse(LoadReportFault fault);
  bool refused() const { return fault_.has_value(); }
  ParsedLoadReport finish() &&;

 private:
  struct Seen {
    MetricGroup group = MetricGroup::kTop;
    std::string_view name;
  };
  bool isNew(MetricGroup group, std::string_view name);
  void addTop(std::string_view name, double value);
  void addNamed(std::string_view name, double value);
  void setShare(std::optional<double>& share, double value);
  void setCount(std::optional<std::uint32_t>& count, double value);
  bool inRange(double value, double max);

  LoadReport report_;
  std::optional<LoadReportFault> fault_;
  std::array<Seen, kMaxLoadReportMetrics> seen_;
  std::size_t seen_count_ = 0;
};

// Calls visit for each number of a report, groups in the order of MetricGroup.
void forEachMetric(const LoadReport& report,
                   const std::function<void(MetricGroup, std::string_view name, double)>& visit);

}  // namespace penstock
