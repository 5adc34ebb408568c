#include "proxy/admin/scaling_page.h"

#include <nlohmann/json.hpp>

namespace penstock::proxy {
namespace {

using Json = nlohmann::ordered_json;

Json settingsJson(const ScalingSettings& settings) {
  const AutoscalingConfig& autoscaling = settings.autoscaling;
  return {{"concurrency_target", settings.concurrency_target},
          {"target_utilization", autoscaling.target_utilization},
          {"min_replicas", autoscaling.min_replicas},
          {"max_replicas", autoscaling.max_replicas},
          {"window_seconds", inSeconds(autoscaling.window)},
          {"scale_down_delay_seconds", inSeconds(autoscaling.scale_down_delay)},
          {"max_scale_down_rate", autoscaling.max_scale_down_rate}};
}

Json recordJson(const ScalingRecord& record, TimePoint now) {
  const DesiredReplicas& desired = record.decision.desired;
  return {{"seconds_ago", inSeconds(now - record.at)},
          {"replicas", record.decision.replicas},
          {"reason", toString(record.decision.reason)},
          {"ready", record.fleet.ready},
          {"starting", record.fleet.starting},
          {"start_up_seconds", inSeconds(record.fleet.start_up)},
          {"demand", desired.demand},
          {"short_demand", desired.short_demand},
          {"waiting", record.load.waiting},
          {"in_flight", record.load.in_flight},
          {"by_window", desired.lasting},
          {"by_burst", desired.burst},
          {"bursting", desired.bursting}};
}

}  // namespace

std::string scalingJson(const std::vector<ScalingStatus>& clusters) {
  Json list = Json::array();
  for (const ScalingStatus& status : clusters) {
    Json changes = Json::array();
    for (const ScalingRecord& record : status.changes) {
      changes.push_back(recordJson(record, status.now));
    }
    list.push_back({{"name", status.cluster},
                    {"advice_only", status.advice_only},
                    {"settings", settingsJson(status.latest.settings)},
                    {"latest", recordJson(status.latest, status.now)},
                    {"changes", std::move(changes)}});
  }
  return Json{{"clusters", std::move(list)}}.dump(2, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

}  // namespace penstock::proxy
