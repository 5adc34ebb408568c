#include "model_runtime/native/model_library.h"

#include <cstdint>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <dlfcn.h>

namespace penstock::runtime {
namespace {

namespace fs = std::filesystem;

std::string lastDlError() {
  const char* error = dlerror();
  return error == nullptr ? "unknown error" : error;
}

template <typename Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

Result<std::string> findModelLibrary(const std::string& name, const std::string& model_directory) {
  std::vector<fs::path> candidates{fs::path(model_directory) / name};
  if (!name.contains('/')) {
    std::error_code error;
    const fs::path program = fs::read_symlink("/proc/self/exe", error);
    if (!error) {
      const fs::path beside = program.parent_path();
      candidates.push_back(beside / name);
      candidates.push_back(beside.parent_path() / "lib" / "penstock" / name);
      candidates.push_back(beside.parent_path() / "lib" / name);
    }
  }
  std::string tried;
  for (const fs::path& candidate : candidates) {
    std::error_code error;
    if (fs::is_regular_file(candidate, error)) {
      return fs::absolute(candidate).string();
    }
    tried += (tried.empty() ? "" : ", ") + candidate.string();
  }
  return failure("there is no library " + name + "; looked for " + tried);
}

Result<std::unique_ptr<Model>> loadModelLibrary(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    return failure("cannot load the model library: " + lastDlError());
  }
  auto* version = symbol<std::uint32_t()>(library, "penstock_model_abi_version");
  auto* create = symbol<Model*()>(library, "penstock_model_create");
  if (version == nullptr || create == nullptr) {
    return failure(path + " is no model library: it does not say PENSTOCK_MODEL(…)");
  }
  if (version() != kModelAbiVersion) {
    return failure(path + " was built for version " + std::to_string(version()) +
                   " of the model interface; this program has version " +
                   std::to_string(kModelAbiVersion));
  }
  try {
    return std::unique_ptr<Model>(create());
  } catch (const std::exception& exception) {
    return failure(path + ": the model's constructor failed: " + exception.what());
  } catch (...) {
    return failure(path + ": the model's constructor failed");
  }
}

}  // namespace penstock::runtime
