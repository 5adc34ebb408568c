#include "base/load_report/load_report_message.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <base/load_report/orca.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "base/check.h"
#include "base/load_report/load_report_fields.h"

namespace penstock {
namespace {

namespace orca = ::xds::service::orca::v3;

constexpr std::int64_t kMaxIntervalSeconds = 24 * 3600;

// What proto3 leaves out is zero, which is each field's default here, too.
void addTop(LoadReportBuilder& builder, std::string_view name, double value) {
  if (value != 0) {
    builder.add(MetricGroup::kTop, name, value);
  }
}

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

bool isWrongInMetric(int number, WireFormatLite::WireType type) {
  return (number == orca::Metric::kKeyFieldNumber &&
          type != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) ||
         (number == orca::Metric::kValueFieldNumber && type != WireFormatLite::WIRETYPE_FIXED64);
}

bool isMetric(int number) {
  return number == orca::OrcaLoadReport::kRequestCostFieldNumber ||
         number == orca::OrcaLoadReport::kUtilizationFieldNumber ||
         number == orca::OrcaLoadReport::kNamedMetricsFieldNumber;
}

bool isWrongInReport(int number, WireFormatLite::WireType type) {
  if (isMetric(number)) {
    return type != WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
  }
  // 3 was an integer once, and what comes after the last is none of ours.
  return number != 3 && number <= orca::OrcaLoadReport::kApplicationUtilizationFieldNumber &&
         type != WireFormatLite::WIRETYPE_FIXED64;
}

// Protobuf ignores a field of the wrong type as it does one that it does not know. bytes have been
// parsed before.
bool hasWrongType(std::string_view bytes, bool (*is_wrong)(int, WireFormatLite::WireType)) {
  CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                         static_cast<int>(bytes.size()));
  while (const std::uint32_t tag = input.ReadTag()) {
    if (is_wrong(WireFormatLite::GetTagFieldNumber(tag), WireFormatLite::GetTagWireType(tag)) ||
        !WireFormatLite::SkipField(&input, tag)) {
      return true;
    }
  }
  return false;
}

bool hasWrongType(std::string_view report) {
  if (hasWrongType(report, isWrongInReport)) {
    return true;
  }
  CodedInputStream input(reinterpret_cast<const std::uint8_t*>(report.data()),
                         static_cast<int>(report.size()));
  std::string metric;
  while (const std::uint32_t tag = input.ReadTag()) {
    if (!isMetric(WireFormatLite::GetTagFieldNumber(tag))) {
      WireFormatLite::SkipField(&input, tag);
    } else if (!WireFormatLite::ReadBytes(&input, &metric) ||
               hasWrongType(metric, isWrongInMetric)) {
      return true;
    }
  }
  return false;
}

template <typename Metrics>
void addAll(LoadReportBuilder& builder, MetricGroup group, const Metrics& metrics) {
  for (const orca::Metric& metric : metrics) {
    builder.add(group, metric.key(), metric.value());
  }
}

void setTop(orca::OrcaLoadReport& message, std::string_view name, double value) {
  if (name == "cpu_utilization") {
    message.set_cpu_utilization(value);
  } else if (name == "mem_utilization") {
    message.set_mem_utilization(value);
  } else if (name == "application_utilization") {
    message.set_application_utilization(value);
  } else if (name == "rps_fractional") {
    message.set_rps_fractional(value);
  } else {
    message.set_eps(value);
  }
}

template <typename Message>
std::string serialized(const Message& message) {
  std::string bytes;
  PENSTOCK_CHECK(message.SerializeToString(&bytes), "a message of numbers can be written");
  return bytes;
}

template <typename Message>
bool parse(Message& message, std::string_view bytes) {
  return bytes.size() <= kMaxLoadReportBytes &&
         message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

std::string toMessage(const LoadReport& report) {
  orca::OrcaLoadReport message;
  forEachMetric(report, [&](MetricGroup group, std::string_view name, double value) {
    orca::Metric* metric = nullptr;
    switch (group) {
      case MetricGroup::kTop:
        setTop(message, name, value);
        return;
      case MetricGroup::kRequestCost:
        metric = message.add_request_cost();
        break;
      case MetricGroup::kUtilization:
        metric = message.add_utilization();
        break;
      case MetricGroup::kNamed:
        metric = message.add_named_metrics();
        break;
    }
    metric->set_key(std::string(name));
    metric->set_value(value);
  });
  return serialized(message);
}

ParsedLoadReport parseLoadReportMessage(std::string_view bytes) {
  if (bytes.size() > kMaxLoadReportBytes) {
    return std::unexpected(LoadReportFault::kTooLong);
  }
  orca::OrcaLoadReport message;
  if (!parse(message, bytes)) {
    return std::unexpected(LoadReportFault::kSyntax);
  }
  LoadReportBuilder builder;
  if (hasWrongType(bytes)) {
    builder.refuse(LoadReportFault::kWrongType);
  }
  addTop(builder, "cpu_utilization", message.cpu_utilization());
  addTop(builder, "mem_utilization", message.mem_utilization());
  addTop(builder, "application_utilization", message.application_utilization());
  addTop(builder, "rps_fractional", message.rps_fractional());
  addTop(builder, "eps", message.eps());
  addAll(builder, MetricGroup::kRequestCost, message.request_cost());
  addAll(builder, MetricGroup::kUtilization, message.utilization());
  addAll(builder, MetricGroup::kNamed, message.named_metrics());
  return std::move(builder).finish();
}

std::string loadReportRequestMessage(Duration interval) {
  using std::chrono::duration_cast;
  const auto whole = duration_cast<std::chrono::seconds>(interval);
  orca::OrcaLoadReportRequest request;
  request.mutable_report_interval()->set_seconds(whole.count());
  request.mutable_report_interval()->set_nanos(
      static_cast<std::int32_t>(duration_cast<std::chrono::nanoseconds>(interval - whole).count()));
  return serialized(request);
}

std::optional<Duration> parseLoadReportRequest(std::string_view bytes) {
  orca::OrcaLoadReportRequest request;
  if (!parse(request, bytes)) {
    return std::nullopt;
  }
  const std::int64_t seconds = std::min(request.report_interval().seconds(), kMaxIntervalSeconds);
  const std::int32_t nanos = request.report_interval().nanos();
  if (seconds < 0 || nanos < 0 || nanos >= 1'000'000'000) {
    return Duration::zero();
  }
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos);
}

}  // namespace penstock
