#include "net/process/program_path.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <unistd.h>

namespace penstock::net {
namespace {

bool canRun(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

std::string inFolder(std::string_view folder, std::string_view name) {
  return (std::filesystem::path(folder.empty() ? "." : folder) / name).string();
}

}  // namespace

Result<std::string> findProgram(std::string_view name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const char* path = std::getenv("PATH");
  return findProgram(name, self.parent_path().string(), path == nullptr ? "" : path);
}

Result<std::string> findProgram(std::string_view name, std::string_view own_folder,
                                std::string_view path) {
  if (name.find('/') != std::string_view::npos) {
    const std::string as_it_is(name);
    return canRun(as_it_is) ? Result<std::string>(as_it_is)
                            : failure("cannot run " + as_it_is + ": not an executable file");
  }
  if (!own_folder.empty() && canRun(inFolder(own_folder, name))) {
    return inFolder(own_folder, name);
  }
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    if (canRun(inFolder(folder, name))) {
      return inFolder(folder, name);
    }
  }
  return failure("cannot find the program " + std::string(name) +
                 ", neither beside this one nor in PATH");
}

}  // namespace penstock::net
