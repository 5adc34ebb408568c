#include "proxy/scaling/external_scaler.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <proxy/scaling/external_scaler.pb.h>

namespace penstock::proxy {
namespace {

using enum http::GrpcStatus;

enum class Metric : std::uint8_t { kDemand, kDesired };

struct Trigger {
  Metric metric;
  ScalerFigures figures;
};

// Within one ScaledObject; KEDA puts the trigger's index before it. Not the cluster's name: that
// may hold what the name of a metric must not.
const char* nameOf(Metric metric) {
  return metric == Metric::kDemand ? "penstock-demand" : "penstock-desired";
}

std::unexpected<ExternalScaler::Refusal> refuse(http::GrpcStatus status, std::string message) {
  return std::unexpected(ExternalScaler::Refusal{status, std::move(message)});
}

std::expected<Metric, ExternalScaler::Refusal> metricOf(
    const externalscaler::ScaledObjectRef& object) {
  const auto& metadata = object.scaler_metadata();
  const auto given = metadata.find("metric");
  if (given == metadata.end() || given->second == "demand") {
    return Metric::kDemand;
  }
  if (given->second == "desired") {
    return Metric::kDesired;
  }
  return refuse(kInvalidArgument,
                "metadata.metric: expected demand or desired, got \"" + given->second + '"');
}

std::expected<Trigger, ExternalScaler::Refusal> triggerOf(
    const externalscaler::ScaledObjectRef& object, const std::vector<ScaledCluster>& clusters) {
  const auto name = object.scaler_metadata().find("cluster");
  if (name == object.scaler_metadata().end() || name->second.empty()) {
    return refuse(kInvalidArgument, "metadata.cluster: expected the name of a cluster");
  }
  const auto metric = metricOf(object);
  if (!metric) {
    return std::unexpected(metric.error());
  }
  const auto cluster = std::ranges::find(clusters, name->second, &ScaledCluster::name);
  if (cluster == clusters.end()) {
    return refuse(kNotFound, "metadata.cluster: there is no cluster \"" + name->second + '"');
  }
  return Trigger{*metric, cluster->figures()};
}

std::string isActive(const Trigger& trigger) {
  const ScalerFigures& figures = trigger.figures;
  const bool wanted = trigger.metric == Metric::kDemand ? figures.demand > 0 : figures.desired > 0;
  externalscaler::IsActiveResponse response;
  response.set_result(wanted || figures.waiting);
  return response.SerializeAsString();
}

std::string metricSpec(const Trigger& trigger) {
  const ScalingSettings& settings = trigger.figures.settings;
  const double target =
      trigger.metric == Metric::kDesired
          ? 1
          : settings.concurrency_target * (settings.autoscaling.target_utilization / 100.0);
  externalscaler::GetMetricSpecResponse response;
  externalscaler::MetricSpec& spec = *response.add_metric_specs();
  spec.set_metric_name(nameOf(trigger.metric));
  // Whole numbers are rounded towards more replicas.
  spec.set_target_size(std::max<std::int64_t>(1, static_cast<std::int64_t>(target)));
  spec.set_target_size_float(target);
  return response.SerializeAsString();
}

std::string metrics(const Trigger& trigger) {
  const double value =
      trigger.metric == Metric::kDesired ? trigger.figures.desired : trigger.figures.demand;
  externalscaler::GetMetricsResponse response;
  externalscaler::MetricValue& metric = *response.add_metric_values();
  metric.set_metric_name(nameOf(trigger.metric));
  metric.set_metric_value(static_cast<std::int64_t>(std::ceil(value)));
  metric.set_metric_value_float(value);
  return response.SerializeAsString();
}

std::expected<std::string, ExternalScaler::Refusal> answerMetrics(
    const std::string& request, const std::vector<ScaledCluster>& clusters) {
  externalscaler::GetMetricsRequest parsed;
  if (!parsed.ParseFromString(request)) {
    return refuse(kInvalidArgument, "expected a GetMetricsRequest");
  }
  const auto trigger = triggerOf(parsed.scaled_object_ref(), clusters);
  if (!trigger) {
    return std::unexpected(trigger.error());
  }
  if (!parsed.metric_name().empty() && parsed.metric_name() != nameOf(trigger->metric)) {
    return refuse(kInvalidArgument, std::string("metricName: expected ") + nameOf(trigger->metric) +
                                        ", got \"" + parsed.metric_name() + '"');
  }
  return metrics(*trigger);
}

}  // namespace

ExternalScaler::ExternalScaler(std::vector<ScaledCluster> clusters)
    : clusters_(std::move(clusters)) {}

std::optional<ExternalScaler::Method> ExternalScaler::method(std::string_view path) {
  struct Row {
    std::string_view name;
    Method method;
  };
  static constexpr std::array<Row, 5> kMethods{{
      {"IsActive", {Call::kIsActive, false}},
      {"StreamIsActive", {Call::kIsActive, true}},
      {"GetMetricSpec", {Call::kGetMetricSpec, false}},
      {"StreamMetricSpec", {Call::kGetMetricSpec, true}},
      {"GetMetrics", {Call::kGetMetrics, false}},
  }};
  constexpr std::string_view kService = "/externalscaler.ExternalScaler/";
  if (!path.starts_with(kService)) {
    return std::nullopt;
  }
  const auto row = std::ranges::find(kMethods, path.substr(kService.size()), &Row::name);
  return row == kMethods.end() ? std::nullopt : std::optional(row->method);
}

std::expected<std::string, ExternalScaler::Refusal> ExternalScaler::answer(
    Call call, const std::string& request) const {
  if (call == Call::kGetMetrics) {
    return answerMetrics(request, clusters_);
  }
  externalscaler::ScaledObjectRef object;
  if (!object.ParseFromString(request)) {
    return refuse(kInvalidArgument, "expected a ScaledObjectRef");
  }
  const auto trigger = triggerOf(object, clusters_);
  if (!trigger) {
    return std::unexpected(trigger.error());
  }
  return call == Call::kIsActive ? isActive(*trigger) : metricSpec(*trigger);
}

}  // namespace penstock::proxy
