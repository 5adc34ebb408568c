#pragma once

#include <string>
#include <vector>

#include "simulator/report.h"

namespace penstock::simulator {

// An SVG picture with a panel for each policy, all with the same scales: replicas ready and
// desired and the demand (in replicas' worth: requests ÷ concurrency target) above, who waits
// below.
std::string plotOf(const std::vector<PolicyRun>& runs, std::uint32_t concurrency_target);

}  // namespace penstock::simulator
