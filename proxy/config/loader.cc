#include "proxy/config/loader.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "net/address.h"
#include "proxy/config/loader_parts.h"

namespace penstock::proxy {
namespace {

AdminConfig readAdmin(const YamlValue& value) {
  AdminConfig admin;
  YamlMap map(value);
  if (const auto address = map.find("address")) {
    if (auto text = address->string(); text && checkAddress(*address, *text, true)) {
      admin.address = std::move(*text);
    }
  }
  readText(map, "token_file", admin.token_file);
  readText(map, "overrides_file", admin.overrides_file);
  map.finish();
  return admin;
}

ExternalScalerConfig readExternalScaler(const YamlValue& value, const AdminConfig& admin) {
  ExternalScalerConfig scaler;
  YamlMap map(value);
  if (requireText(map, "address", scaler.address)) {
    const YamlValue address = *map.find("address");
    if (checkAddress(address, scaler.address, true) && !scaler.address.ends_with(":0") &&
        scaler.address == admin.address) {
      address.error(fmt::format("expected an address of its own; {} is taken by the admin server",
                                scaler.address));
    }
  }
  map.finish();
  return scaler;
}

AccessLogConfig readAccessLog(const YamlValue& value) {
  AccessLogConfig access_log;
  YamlMap map(value);
  readText(map, "path", access_log.path);
  map.choice<AccessLogFormat>(
      "format", access_log.format,
      {{"default", AccessLogFormat::kDefault}, {"json", AccessLogFormat::kJson}});
  map.finish();
  return access_log;
}

LimitsConfig readLimits(const YamlValue& value) {
  LimitsConfig limits;
  YamlMap map(value);
  map.optional("max_buffered", limits.max_buffered, {64_KiB, ByteSize{INT64_MAX}});
  map.finish();
  return limits;
}

void checkReferences(const std::vector<ClusterReference>& references,
                     const std::vector<ClusterConfig>& clusters) {
  for (const ClusterReference& reference : references) {
    if (std::ranges::find(clusters, reference.name, &ClusterConfig::name) != clusters.end()) {
      continue;
    }
    std::string names;
    for (const ClusterConfig& cluster : clusters) {
      names += (names.empty() ? "" : ", ") + cluster.name;
    }
    reference.value.error(
        fmt::format("expected the name of a cluster ({}), got \"{}\"", names, reference.name));
  }
}

// Two listeners may share port 0, and nothing else; the admin server and the external scaler listen
// too.
void checkAddressesDiffer(const YamlValue& listeners, const Config& config) {
  std::map<std::string, std::string> users{{config.admin.address, "the admin server"}};
  if (config.external_scaler) {
    users.emplace(config.external_scaler->address, "the external scaler");
  }
  if (!listeners.isSequence()) {
    return;
  }
  const std::vector<YamlValue> items = listeners.items();
  for (std::size_t i = 0; i < items.size() && i < config.listeners.size(); ++i) {
    const ListenerConfig& listener = config.listeners[i];
    if (listener.address.empty() || listener.address.ends_with(":0")) {
      continue;
    }
    const auto [user, free] =
        users.try_emplace(listener.address, fmt::format("listener \"{}\"", listener.name));
    if (!free) {
      YamlMap(items[i]).find("address")->error(fmt::format(
          "expected an address of its own; {} is taken by {}", listener.address, user->second));
    }
  }
}

}  // namespace

void readName(YamlMap& map, std::string& name, std::set<std::string>& seen) {
  const auto value = map.need("name");
  const auto text = value ? value->string() : std::nullopt;
  if (!text) {
    return;
  }
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._/-").contains(c);
  };
  if (text->empty() || text->size() > 128 || !std::ranges::all_of(*text, allowed)) {
    value->error(
        "expected a name: 1 to 128 letters, digits, dots, underscores, slashes or hyphens");
  } else if (!seen.insert(*text).second) {
    value->error(fmt::format("expected a name of its own; \"{}\" is taken", *text));
  } else {
    name = *text;
  }
}

bool checkAddress(const YamlValue& value, std::string_view text, bool port_zero) {
  const auto address = net::Address::parse(text);
  if (!address) {
    value.error("expected ip:port, such as 127.0.0.1:8080 or [::1]:8080: " +
                address.error().message);
  } else if (address->port() == 0 && !port_zero) {
    value.error("expected a port from 1 to 65535, got 0");
  } else {
    return true;
  }
  return false;
}

bool readText(YamlMap& map, std::string_view key, std::string& out) {
  const auto value = map.find(key);
  auto text = value ? value->string() : std::nullopt;
  if (text && text->empty()) {
    value->error("expected a string that is not empty");
    return false;
  }
  if (text) {
    out = std::move(*text);
  }
  return text.has_value();
}

bool requireText(YamlMap& map, std::string_view key, std::string& out) {
  return map.need(key).has_value() && readText(map, key, out);
}

bool checkPath(const YamlValue& value, std::string_view path) {
  const auto forbidden = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte >= 0x7F || c == '?' || c == '#' || c == '\\';
  };
  if (!path.starts_with('/')) {
    value.error(fmt::format("expected a path that begins with /, got \"{}\"", path));
    return false;
  }
  if (std::ranges::any_of(path, forbidden)) {
    value.error("expected a path without query, fragment, backslash, space or other than ASCII");
    return false;
  }
  return true;
}

Result<Config> readConfig(YamlDocument& document) {
  Config config;
  std::vector<ClusterReference> references;
  YamlMap top(document.root());
  if (const auto admin = top.find("admin")) {
    config.admin = readAdmin(*admin);
  }
  if (const auto external_scaler = top.find("external_scaler")) {
    config.external_scaler = readExternalScaler(*external_scaler, config.admin);
  }
  if (const auto access_log = top.find("access_log")) {
    config.access_log = readAccessLog(*access_log);
  }
  if (const auto limits = top.find("limits")) {
    config.limits = readLimits(*limits);
  }
  top.optional("drain_timeout", config.drain_timeout, kAnyDelay);
  if (const auto listeners = top.need("listeners")) {
    config.listeners = readListeners(*listeners, references);
    checkAddressesDiffer(*listeners, config);
  }
  if (const auto clusters = top.need("clusters")) {
    config.clusters = readClusters(*clusters);
    checkReferences(references, config.clusters);
  }
  top.finish();
  if (auto checked = document.check(); !checked) {
    return std::unexpected(checked.error());
  }
  return config;
}

Result<Config> loadConfig(const std::string& file) {
  auto document = YamlDocument::load(file);
  return document ? readConfig(*document) : std::unexpected(document.error());
}

Result<Config> parseConfig(std::string_view text, const std::string& file_name) {
  auto document = YamlDocument::parse(text, file_name);
  return document ? readConfig(*document) : std::unexpected(document.error());
}

}  // namespace penstock::proxy
