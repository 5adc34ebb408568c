#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/yaml.h"
#include "proxy/config/config.h"

// The settings of a cluster that may change while it serves, and the layers they come from: the
// defaults, the configuration file, the overrides file, changes since the start. A later layer
// hides an earlier one, setting by setting.
namespace penstock::proxy {

// Values for some of the settings; the others are whatever they are.
struct SettingsLayer {
  ClusterSettings values;
  SettingSet given;
};

enum class SettingSource : std::uint8_t { kDefault, kFile, kOverrides, kPatch };
using SettingSources = std::array<SettingSource, kSettings>;
// "default", "file", "overrides", "patch".
std::string_view nameOf(SettingSource source);

constexpr std::array<Setting, kSettings> allSettings() {
  std::array<Setting, kSettings> all{};
  for (std::size_t i = 0; i < kSettings; ++i) {
    all[i] = static_cast<Setting>(i);
  }
  return all;
}
constexpr std::size_t indexOf(Setting setting) {
  return static_cast<std::size_t>(setting);
}
// Its keys in a cluster's configuration: "queue.timeout".
std::string_view nameOf(Setting setting);
// Its value as the file has it: "60s".
std::string valueOf(Setting setting, const ClusterSettings& settings);
void copySetting(Setting setting, const ClusterSettings& from, ClusterSettings& to);
// Those in which the two differ.
SettingSet difference(const ClusterSettings& one, const ClusterSettings& other);
// What is in effect when the layer lies over the base.
ClusterSettings overlay(const ClusterSettings& base, const SettingsLayer& layer);

// Why values that are each in range cannot be in effect together, beginning with the key at fault.
std::optional<std::string> contradiction(const ClusterSettings& settings);

// Reads those that the mapping has; the one place that knows their ranges. Mistakes go to the
// document.
void readSettings(YamlMap& map, SettingsLayer& layer);

}  // namespace penstock::proxy
