#include "base/load_report/load_report_fields.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace penstock {
namespace {

constexpr double kMaxUtilization = 1e6;
constexpr double kMaxCount = 1e9;
constexpr double kMaxValue = 1e15;

struct TopField {
  std::string_view name;
  double LoadReport::* field;
  double max;
};
constexpr TopField kTopFields[] = {
    {"cpu_utilization", &LoadReport::cpu_utilization, kMaxUtilization},
    {"mem_utilization", &LoadReport::mem_utilization, 1},
    {"application_utilization", &LoadReport::application_utilization, kMaxUtilization},
    {"rps_fractional", &LoadReport::rps, kMaxCount},
    {"eps", &LoadReport::eps, kMaxCount},
};

struct CountField {
  std::string_view name;
  std::optional<std::uint32_t> LoadReport::* field;
};
constexpr CountField kCountFields[] = {
    {"penstock.in_flight", &LoadReport::in_flight},
    {"penstock.limit", &LoadReport::limit},
    {"penstock.predict_in_flight", &LoadReport::predict_in_flight},
    {"penstock.predict_concurrency", &LoadReport::predict_concurrency},
    {"penstock.gate_waiting", &LoadReport::gate_waiting},
};

struct ShareField {
  std::string_view name;
  std::optional<double> LoadReport::* field;
};
constexpr ShareField kShareFields[] = {
    {"penstock.gate_busy", &LoadReport::gate_busy},
    {"penstock.gate_idle_no_request", &LoadReport::gate_idle_no_request},
    {"penstock.gate_idle_preprocess", &LoadReport::gate_idle_preprocess},
    {"penstock.gate_idle_hand_over", &LoadReport::gate_idle_hand_over},
    {"penstock.gpu_utilization", &LoadReport::gpu_utilization},
    {"penstock.gpu_memory", &LoadReport::gpu_memory},
};
constexpr std::string_view kDraining = "penstock.draining";
constexpr std::string_view kIncarnation = "penstock.incarnation";

// Neither form of the header could carry anything else.
bool isName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxLoadReportNameBytes &&
         std::ranges::all_of(name, [](char c) {
           return c > ' ' && c < '\x7f' && c != '"' && c != '\\' && c != ',' && c != '=';
         });
}

}  // namespace

std::string_view toString(LoadReportFault fault) {
  switch (fault) {
    case LoadReportFault::kTooLong:
      return "too_long";
    case LoadReportFault::kSyntax:
      return "syntax";
    case LoadReportFault::kWrongType:
      return "wrong_type";
    case LoadReportFault::kNotFinite:
      return "not_finite";
    case LoadReportFault::kOutOfRange:
      return "out_of_range";
    case LoadReportFault::kDuplicate:
      return "duplicate";
  }
  return "?";
}

void LoadReportBuilder::refuse(LoadReportFault fault) {
  if (!fault_.has_value()) {
    fault_ = fault;
  }
}

bool LoadReportBuilder::isNew(MetricGroup group, std::string_view name) {
  const std::span seen(seen_.data(), seen_count_);
  if (std::ranges::any_of(
          seen, [&](const Seen& one) { return one.group == group && one.name == name; })) {
    refuse(LoadReportFault::kDuplicate);
    return false;
  }
  if (seen_count_ == seen_.size()) {
    refuse(LoadReportFault::kTooLong);
    return false;
  }
  seen_[seen_count_++] = {group, name};
  return true;
}

bool LoadReportBuilder::inRange(double value, double max) {
  if (value < 0 || value > max) {
    refuse(LoadReportFault::kOutOfRange);
    return false;
  }
  return true;
}

void LoadReportBuilder::add(MetricGroup group, std::string_view name, double value) {
  if (!isName(name)) {
    refuse(LoadReportFault::kSyntax);
    return;
  }
  if (!std::isfinite(value)) {
    refuse(LoadReportFault::kNotFinite);
    return;
  }
  const double max = group == MetricGroup::kUtilization ? 1 : kMaxValue;
  if (!isNew(group, name) || !inRange(value, max)) {
    return;
  }
  switch (group) {
    case MetricGroup::kTop:
      addTop(name, value);
      break;
    case MetricGroup::kRequestCost:
      report_.request_cost.push_back({std::string(name), value});
      break;
    case MetricGroup::kUtilization:
      report_.utilization.push_back({std::string(name), value});
      break;
    case MetricGroup::kNamed:
      addNamed(name, value);
      break;
  }
}

void LoadReportBuilder::addTop(std::string_view name, double value) {
  const auto* const top = std::ranges::find(kTopFields, name, &TopField::name);
  if (top != std::end(kTopFields) && inRange(value, top->max)) {
    report_.*top->field = value;
  }
}

void LoadReportBuilder::setCount(std::optional<std::uint32_t>& count, double value) {
  if (value != std::floor(value)) {
    refuse(LoadReportFault::kWrongType);
  } else if (inRange(value, kMaxCount)) {
    count = static_cast<std::uint32_t>(value);
  }
}

void LoadReportBuilder::setShare(std::optional<double>& share, double value) {
  if (inRange(value, 1)) {
    share = value;
  }
}

void LoadReportBuilder::addNamed(std::string_view name, double value) {
  if (!name.starts_with("penstock.")) {
    return;
  }
  if (const auto* const count = std::ranges::find(kCountFields, name, &CountField::name);
      count != std::end(kCountFields)) {
    setCount(report_.*count->field, value);
  } else if (const auto* const share = std::ranges::find(kShareFields, name, &ShareField::name);
             share != std::end(kShareFields)) {
    setShare(report_.*share->field, value);
  } else if (name == kDraining) {
    std::optional<std::uint32_t> draining;
    setCount(draining, value);
    report_.draining = draining.value_or(0) != 0;
  } else if (name == kIncarnation) {
    if (value == std::floor(value)) {
      report_.incarnation = static_cast<std::uint64_t>(value);
    } else {
      refuse(LoadReportFault::kWrongType);
    }
  }
}

ParsedLoadReport LoadReportBuilder::finish() && {
  if (fault_.has_value()) {
    return std::unexpected(*fault_);
  }
  return std::move(report_);
}

void forEachMetric(const LoadReport& report,
                   const std::function<void(MetricGroup, std::string_view, double)>& visit) {
  for (const TopField& top : kTopFields) {
    visit(MetricGroup::kTop, top.name, report.*top.field);
  }
  for (const LoadReport::Metric& metric : report.request_cost) {
    visit(MetricGroup::kRequestCost, metric.name, metric.value);
  }
  for (const LoadReport::Metric& metric : report.utilization) {
    visit(MetricGroup::kUtilization, metric.name, metric.value);
  }
  for (const CountField& count : kCountFields) {
    if (const auto& value = report.*count.field; value.has_value()) {
      visit(MetricGroup::kNamed, count.name, *value);
    }
  }
  for (const ShareField& share : kShareFields) {
    if (const auto& value = report.*share.field; value.has_value()) {
      visit(MetricGroup::kNamed, share.name, *value);
    }
  }
  visit(MetricGroup::kNamed, kDraining, report.draining ? 1 : 0);
  if (report.incarnation.has_value()) {
    visit(MetricGroup::kNamed, kIncarnation, static_cast<double>(*report.incarnation));
  }
}

}  // namespace penstock
