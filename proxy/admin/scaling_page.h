#pragma once

#include <string>
#include <vector>

#include "proxy/scaling/autoscaler.h"

namespace penstock::proxy {

// What /autoscaler answers (JSON): per cluster the number of replicas, why, and from what.
std::string scalingJson(const std::vector<ScalingStatus>& clusters);

}  // namespace penstock::proxy
