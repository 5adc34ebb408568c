#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace penstock::net {

// Finds the program to run. With a slash it is taken as it is; a bare name is looked up beside this
// program's own binary, then in PATH.
Result<std::string> findProgram(std::string_view name);
// The same with the places given. own_folder may be empty; path is colon-separated.
Result<std::string> findProgram(std::string_view name, std::string_view own_folder,
                                std::string_view path);

}  // namespace penstock::net
