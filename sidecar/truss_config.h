#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/yaml.h"

// What Truss's config.yaml means here. Its values are read as Truss reads them: YAML 1.1, and
// numbers and booleans also from text. Mistakes are noted in the document.
namespace penstock::sidecar {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Goes through every key that Truss publishes: a value of the wrong shape is a mistake, and so is a
// key inside `runtime` that Truss does not know. Returns sentences for the log: about other unknown
// keys, and about those that have no effect here.
struct TrussRemarks {
  std::vector<std::string> warnings;
  std::string left_to_image;  // keys, separated by commas; may be empty
};
TrussRemarks checkTrussKeys(YamlMap& top);

// `environment_variables`, as text in Truss's way.
Environment readEnvironment(YamlMap& top);

// Leaves out alone if key is absent or wrong. Returns whether out was set.
bool readWhole(YamlMap& map, std::string_view key, std::uint64_t& out,
               Between<std::uint64_t> range);
// The same; absence is noted.
bool needWhole(YamlMap& map, std::string_view key, std::uint64_t& out,
               Between<std::uint64_t> range);

}  // namespace penstock::sidecar
