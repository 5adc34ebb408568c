#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/yaml.h"
#include "proxy/config/config.h"

// Makes a Config of a YAML file, or says everything that is wrong with it, a line for each mistake:
// "file:line:column: what was expected". A Config that comes out is consistent: every route names a
// cluster, names are unique, addresses parse.
namespace penstock::proxy {

Result<Config> loadConfig(const std::string& file);
// file_name: only for the messages.
Result<Config> parseConfig(std::string_view text, const std::string& file_name);
// The same from a document that is already parsed; afterwards it knows which keys exist.
Result<Config> readConfig(YamlDocument& document);

}  // namespace penstock::proxy
