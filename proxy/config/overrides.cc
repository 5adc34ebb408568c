#include "proxy/config/overrides.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "net/unique_fd.h"
#include "proxy/config/dump.h"
#include "proxy/config/loader.h"

namespace penstock::proxy {
namespace {

void readCluster(const YamlValue& value, const ClusterConfig& cluster, SettingsLayer& layer) {
  YamlMap map(value);
  readSettings(map, layer);
  map.finish();
  if (const auto why = contradiction(overlay(cluster, layer))) {
    value.error(fmt::format("{} (over the configuration file)", *why));
  }
}

Overrides readOverrides(const YamlValue& root, const Config& config) {
  Overrides overrides{.clusters = std::vector<SettingsLayer>(config.clusters.size()),
                      .unknown = {}};
  YamlMap top(root);
  if (const auto clusters = top.need("clusters")) {
    YamlMap by_name(*clusters);
    for (std::size_t i = 0; i < config.clusters.size(); ++i) {
      if (const auto value = by_name.find(config.clusters[i].name)) {
        readCluster(*value, config.clusters[i], overrides.clusters[i]);
      }
    }
    overrides.unknown = by_name.unknownKeys();
  }
  top.finish();
  return overrides;
}

Error systemError(std::string_view what, const std::string& file) {
  return {fmt::format("{}: cannot {} it: {}", file, what, std::strerror(errno))};
}

Result<void> writeAndSync(const std::string& file, std::string_view text) {
  const net::UniqueFd fd(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) {
    return std::unexpected(systemError("open", file));
  }
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return std::unexpected(systemError("write", file));
    }
    text.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return ::fsync(fd.get()) == 0 ? Result<void>() : std::unexpected(systemError("write", file));
}

// So that the new name is still there after a crash. If this fails, the file is in its place all
// the same, and to say that the change failed would be wrong.
void syncFolderOf(const std::string& file) {
  const std::size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash + 1);
  const net::UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) {
    ::fsync(fd.get());
  }
}

}  // namespace

Config StartConfig::effective() const {
  Config result = config;
  for (std::size_t i = 0; i < result.clusters.size(); ++i) {
    ClusterSettings& settings = result.clusters[i];
    settings = overlay(settings, overrides.clusters[i]);
  }
  return result;
}

Result<StartConfig> loadStartConfig(const std::string& file) {
  auto config = loadConfig(file);
  if (!config) {
    return std::unexpected(config.error());
  }
  auto overrides = loadOverrides(*config);
  if (!overrides) {
    return std::unexpected(overrides.error());
  }
  return StartConfig{
      .file = file, .config = std::move(*config), .overrides = std::move(*overrides)};
}

Result<Overrides> loadOverrides(const Config& config) {
  const std::string& file = config.admin.overrides_file;
  if (file.empty() || (::access(file.c_str(), F_OK) != 0 && errno == ENOENT)) {
    return Overrides{.clusters = std::vector<SettingsLayer>(config.clusters.size()), .unknown = {}};
  }
  auto document = YamlDocument::load(file);
  if (!document) {
    return std::unexpected(document.error());
  }
  Overrides overrides = readOverrides(document->root(), config);
  if (auto checked = document->check(); !checked) {
    return std::unexpected(checked.error());
  }
  return overrides;
}

Result<void> writeOverrides(const std::string& file,
                            const std::map<std::string, SettingsLayer>& clusters) {
  const std::string temporary = file + ".tmp";
  Result<void> written = writeAndSync(temporary, dumpOverrides(clusters));
  if (written && std::rename(temporary.c_str(), file.c_str()) != 0) {
    written = std::unexpected(systemError("replace", file));
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  syncFolderOf(file);
  return {};
}

}  // namespace penstock::proxy
