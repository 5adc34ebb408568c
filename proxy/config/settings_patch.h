#pragma once

#include <string_view>

#include "base/result.h"
#include "proxy/config/settings.h"

namespace penstock::proxy {

// A change of some settings, as an operator sends it.
struct SettingsPatch {
  SettingsLayer set;
  SettingSet reset;  // back to what the configuration file says
};

// Reads a JSON merge patch (RFC 7396) for what dumpSettings writes: {"queue": {"timeout": "60s"}}.
// null means reset, for a setting or for a group of them. As strict as the loader of the file; the
// error tells every mistake, each with its key and what was expected.
Result<SettingsPatch> parseSettingsPatch(std::string_view json);

}  // namespace penstock::proxy
