#pragma once

#include <map>
#include <span>
#include <string>

#include "proxy/config/config.h"
#include "proxy/config/settings.h"

// Configuration as indented JSON, with the keys and units of the configuration file.
namespace penstock::proxy {

// The configuration in effect, every default filled in: what loads as YAML to the same Config.
// Absent options are left out. With sources (one for each cluster), a key "sources" that is no
// configuration tells for each cluster where its settings come from.
std::string dumpConfig(const Config& config, std::span<const SettingSources> sources = {});

std::string dumpSettings(const ClusterSettings& settings);
// What loadOverrides reads, by the names of clusters.
std::string dumpOverrides(const std::map<std::string, SettingsLayer>& clusters);

}  // namespace penstock::proxy
