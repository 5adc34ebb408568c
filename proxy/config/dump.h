#pragma once

#include <string>

#include "proxy/config/config.h"

namespace penstock::proxy {

// The configuration in effect, every default filled in, as indented JSON with the keys and units of
// the configuration file: what loads as YAML to the same Config. Absent options are left out.
std::string dumpConfig(const Config& config);

}  // namespace penstock::proxy
