#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "simulator/simulation.h"
#include "simulator/synthetic_load.h"
#include "simulator/trace.h"

namespace penstock::simulator {

// The command line.
struct Options {
  std::string config_file;
  std::string cluster;     // empty: the only one
  std::string trace_file;  // empty: synthetic
  std::vector<std::string> policies;
  std::string out_folder;  // empty: only the table
  ServiceModel model;
  SyntheticLoad synthetic;
  StartUp start_up;
  std::optional<std::uint32_t> fixed_replicas;  // absent: max_replicas
  std::uint64_t seed = 1;
};

// The options, or the exit status if the program is to end here (with what is to be said said).
std::expected<Options, int> parseCommandLine(int argc, char** argv);

}  // namespace penstock::simulator
