#pragma once

#include <string>
#include <vector>

#include "simulator/figures.h"
#include "simulator/load.h"

namespace penstock::simulator {

// One policy's simulation.
struct PolicyRun {
  std::string policy;
  Figures figures;
  std::vector<Moment> timeline;
};

// The load in a line, the settings in a line, and a table with a row for each policy.
std::string reportOf(const Scenario& scenario, const std::vector<PolicyRun>& runs);
// A header, and a line for each moment of each policy.
std::string timelineCsv(const std::vector<PolicyRun>& runs);

}  // namespace penstock::simulator
