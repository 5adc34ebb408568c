#include "proxy/config/settings.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/quantity.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMaxCount = 1'000'000;
constexpr std::uint32_t kMaxReplicas = 1'000;

constexpr std::array<std::string_view, kSettings> kNames{
    "concurrency_target",
    "queue.max_requests",
    "queue.max_bytes",
    "queue.timeout",
    "autoscaling.min_replicas",
    "autoscaling.max_replicas",
    "autoscaling.window",
    "autoscaling.scale_down_delay",
    "autoscaling.target_utilization",
    "autoscaling.max_scale_down_rate",
};

// Calls use with the member that a setting stands for, of each of the arguments.
template <typename Use, typename... Settings>
auto withMember(Setting setting, Use use, Settings&... settings) {
  switch (setting) {
    case Setting::kConcurrencyTarget:
      return use(settings.concurrency_target...);
    case Setting::kMaxRequests:
      return use(settings.queue.max_requests...);
    case Setting::kMaxBytes:
      return use(settings.queue.max_bytes...);
    case Setting::kTimeout:
      return use(settings.queue.timeout...);
    case Setting::kMinReplicas:
      return use(settings.autoscaling.min_replicas...);
    case Setting::kMaxReplicas:
      return use(settings.autoscaling.max_replicas...);
    case Setting::kWindow:
      return use(settings.autoscaling.window...);
    case Setting::kScaleDownDelay:
      return use(settings.autoscaling.scale_down_delay...);
    case Setting::kTargetUtilization:
      return use(settings.autoscaling.target_utilization...);
    case Setting::kMaxScaleDownRate:
      break;
  }
  return use(settings.autoscaling.max_scale_down_rate...);
}

std::string text(std::uint32_t value) {
  return std::to_string(value);
}
std::string text(ByteSize value) {
  return toString(value);
}
std::string text(Duration value) {
  return toString(value);
}

// Reads settings of one mapping into a layer, and keeps count of those that were there.
class Reader {
 public:
  Reader(YamlMap& map, SettingsLayer& layer) : map_(map), layer_(layer) {}

  template <typename T>
  void operator()(Setting setting, T& value, Between<std::type_identity_t<T>> range) {
    const std::string_view name = nameOf(setting);
    const std::string_view key = name.substr(name.find('.') + 1);
    layer_.given.set(indexOf(setting), map_.optional(key, value, range));
  }

 private:
  YamlMap& map_;
  SettingsLayer& layer_;
};

void readQueue(YamlMap map, SettingsLayer& layer) {
  Reader read(map, layer);
  QueueConfig& queue = layer.values.queue;
  read(Setting::kMaxRequests, queue.max_requests, {0, kMaxCount});
  read(Setting::kMaxBytes, queue.max_bytes, atLeast<ByteSize>(ByteSize{0}));
  read(Setting::kTimeout, queue.timeout, {1ms, 24h});
  map.finish();
}

void readAutoscaling(YamlMap map, SettingsLayer& layer) {
  Reader read(map, layer);
  AutoscalingConfig& autoscaling = layer.values.autoscaling;
  read(Setting::kMinReplicas, autoscaling.min_replicas, {0, kMaxReplicas});
  autoscaling.max_replicas = std::max(autoscaling.max_replicas, autoscaling.min_replicas);
  read(Setting::kMaxReplicas, autoscaling.max_replicas, {1, kMaxReplicas});
  if (autoscaling.max_replicas < autoscaling.min_replicas) {
    map.find("max_replicas")
        ->error(fmt::format("expected at least min_replicas ({}), got {}", autoscaling.min_replicas,
                            autoscaling.max_replicas));
  }
  // The ranges are Baseten's.
  read(Setting::kWindow, autoscaling.window, {10s, 1h});
  read(Setting::kScaleDownDelay, autoscaling.scale_down_delay, {0s, 1h});
  read(Setting::kTargetUtilization, autoscaling.target_utilization, {1, 100});
  read(Setting::kMaxScaleDownRate, autoscaling.max_scale_down_rate, {1, 50});
  map.finish();
}

}  // namespace

std::string_view nameOf(SettingSource source) {
  switch (source) {
    case SettingSource::kDefault:
      return "default";
    case SettingSource::kFile:
      return "file";
    case SettingSource::kOverrides:
      return "overrides";
    case SettingSource::kPatch:
      break;
  }
  return "patch";
}

std::string_view nameOf(Setting setting) {
  return kNames[indexOf(setting)];
}

std::string valueOf(Setting setting, const ClusterSettings& settings) {
  return withMember(setting, [](const auto& value) { return text(value); }, settings);
}

void copySetting(Setting setting, const ClusterSettings& from, ClusterSettings& to) {
  withMember(setting, [](auto& target, const auto& value) { target = value; }, to, from);
}

SettingSet difference(const ClusterSettings& one, const ClusterSettings& other) {
  SettingSet result;
  for (const Setting setting : allSettings()) {
    result[indexOf(setting)] =
        withMember(setting, [](const auto& a, const auto& b) { return a != b; }, one, other);
  }
  return result;
}

ClusterSettings overlay(const ClusterSettings& base, const SettingsLayer& layer) {
  ClusterSettings result = base;
  for (const Setting setting : allSettings()) {
    if (layer.given[indexOf(setting)]) {
      copySetting(setting, layer.values, result);
    }
  }
  return result;
}

std::optional<std::string> contradiction(const ClusterSettings& settings) {
  const AutoscalingConfig& autoscaling = settings.autoscaling;
  if (autoscaling.max_replicas < autoscaling.min_replicas) {
    return fmt::format("autoscaling.max_replicas: expected at least min_replicas ({}), got {}",
                       autoscaling.min_replicas, autoscaling.max_replicas);
  }
  return std::nullopt;
}

void readSettings(YamlMap& map, SettingsLayer& layer) {
  Reader read(map, layer);
  read(Setting::kConcurrencyTarget, layer.values.concurrency_target, {1, kMaxCount});
  if (const auto queue = map.find("queue")) {
    readQueue(YamlMap(*queue), layer);
  }
  if (const auto autoscaling = map.find("autoscaling")) {
    readAutoscaling(YamlMap(*autoscaling), layer);
  }
}

}  // namespace penstock::proxy
