#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "proxy/config/config.h"
#include "proxy/config/settings.h"

// The overrides file: settings that operators changed, kept for the next start. JSON, which is
// YAML: {"clusters": {"model": {"concurrency_target": 4, "queue": {"timeout": "60s"}}}}.
namespace penstock::proxy {

struct Overrides {
  // By the order of the configuration's clusters.
  std::vector<SettingsLayer> clusters;
  // Names in the file that are no clusters of the configuration.
  std::vector<std::string> unknown;
};

// What the proxy starts from.
struct StartConfig {
  std::string file;
  Config config;  // as the file has it
  Overrides overrides;

  // With the overrides in it.
  Config effective() const;
};

// The file and the overrides that go with it.
Result<StartConfig> loadStartConfig(const std::string& file);

// Reads config.admin.overrides_file; without one, or if it does not exist yet, there are none.
// Mistakes are told as by the loader, a line for each: "file:line:column: what was expected".
Result<Overrides> loadOverrides(const Config& config);

// Replaces the file as a whole, or leaves it as it was: a temporary file beside it, on disk before
// it takes the name.
Result<void> writeOverrides(const std::string& file,
                            const std::map<std::string, SettingsLayer>& clusters);

}  // namespace penstock::proxy
