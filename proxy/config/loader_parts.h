#pragma once

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/yaml.h"
#include "proxy/config/config.h"

// What the parts of the loader share. Mistakes go to the document.
namespace penstock::proxy {

// A route's word for a cluster, checked when all clusters are known.
struct ClusterReference {
  YamlValue value;
  std::string name;
};

inline constexpr Between<Duration> kAnyTimeout{std::chrono::milliseconds(1),
                                               std::chrono::hours(24)};
inline constexpr Between<Duration> kAnyDelay{Duration::zero(), std::chrono::hours(24)};

// A required name: letters, digits and "._/-", unique among seen.
void readName(YamlMap& map, std::string& name, std::set<std::string>& seen);
// Whether text is ip:port; if not, notes it at value. port_zero: whether "any free port" will do.
bool checkAddress(const YamlValue& value, std::string_view text, bool port_zero);
// A string that must not be empty.
bool readText(YamlMap& map, std::string_view key, std::string& out);
bool requireText(YamlMap& map, std::string_view key, std::string& out);
// Notes a path that does not begin with '/' or holds what no path holds.
bool checkPath(const YamlValue& value, std::string_view path);

std::vector<ListenerConfig> readListeners(const YamlValue& value,
                                          std::vector<ClusterReference>& references);
std::vector<ClusterConfig> readClusters(const YamlValue& value);

}  // namespace penstock::proxy
