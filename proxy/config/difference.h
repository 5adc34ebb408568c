#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace penstock::proxy {

// What of the wanted configuration a running proxy cannot take on: every key that differs but the
// clusters' settings and static replicas. "drain_timeout", "listeners[ingress].routes",
// "clusters[model]". Empty: none.
std::vector<std::string> keysThatNeedRestart(const Config& running, const Config& wanted);

}  // namespace penstock::proxy
