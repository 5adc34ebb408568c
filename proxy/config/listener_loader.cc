#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "proxy/config/loader_parts.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr ByteSize kMaxWindow{(1ULL << 31) - 1};  // RFC 9113 §6.9.1
constexpr ByteSize kMaxBuffer{1ULL << 30};
constexpr ByteSize kMaxBody{1ULL << 40};

// "API.Example.com." → "api.example.com".
std::string canonicalHost(std::string host) {
  std::ranges::transform(host, host.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (host.ends_with('.')) {
    host.pop_back();
  }
  return host;
}

bool isHost(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) {
    return host.find_first_not_of("0123456789abcdef:.", 1) == host.size() - 1;
  }
  const std::string_view name = host.starts_with("*.") ? host.substr(2) : host;
  return !name.empty() && !name.starts_with('.') && !name.contains("..") &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-_") ==
             std::string_view::npos;
}

std::vector<std::string> readHosts(const YamlValue& value) {
  std::vector<std::string> hosts;
  for (const YamlValue& item : value.items()) {
    const auto text = item.string();
    if (!text) {
      continue;
    }
    std::string host = canonicalHost(*text);
    if (!isHost(host)) {
      item.error(fmt::format(
          "expected a host name without a port, such as api.example.com or *.example.com, got "
          "\"{}\"",
          *text));
    } else if (std::ranges::find(hosts, host) != hosts.end()) {
      item.error(fmt::format("expected each host once, got \"{}\" again", *text));
    } else {
      hosts.push_back(std::move(host));
    }
  }
  if (value.isSequence() && value.items().empty()) {
    value.error("expected at least one host; leave the key out for any host");
  }
  return hosts;
}

RouteConfig readRoute(const YamlValue& value, std::vector<ClusterReference>& references) {
  RouteConfig route;
  YamlMap map(value);
  if (const auto prefix = map.need("prefix")) {
    if (auto text = prefix->string(); text && checkPath(*prefix, *text)) {
      route.prefix = std::move(*text);
    }
  }
  if (const auto hosts = map.find("hosts")) {
    route.hosts = readHosts(*hosts);
  }
  if (const auto cluster = map.need("cluster")) {
    if (auto name = cluster->string()) {
      references.push_back({*cluster, *name});
      route.cluster = std::move(*name);
    }
  }
  map.optional("timeout", route.timeout, kAnyTimeout);
  map.optional("first_byte_timeout", route.first_byte_timeout, {kAnyTimeout.min, kAnyTimeout.max});
  map.optional("stream_idle_timeout", route.stream_idle_timeout, kAnyTimeout);
  map.optional("request_buffer", route.request_buffer, {1_B, kMaxBuffer});
  map.optional("response_buffer", route.response_buffer, {1_KiB, kMaxBuffer});
  map.optional("max_request_body", route.max_request_body, {0_B, kMaxBody});
  map.optional("idempotent", route.idempotent);
  map.finish();
  return route;
}

std::vector<RouteConfig> readRoutes(const YamlValue& value,
                                    std::vector<ClusterReference>& references) {
  std::vector<RouteConfig> routes;
  std::map<std::pair<std::string, std::string>, std::string> seen;
  for (const YamlValue& item : value.items()) {
    routes.push_back(readRoute(item, references));
    const RouteConfig& route = routes.back();
    std::vector<std::string> hosts = route.hosts;
    if (hosts.empty()) {
      hosts.emplace_back("any host");
    }
    for (const std::string& host : hosts) {
      const auto [first, inserted] = seen.try_emplace({route.prefix, host}, item.place());
      if (!inserted) {
        item.error(fmt::format("expected one route for {} and prefix {}; the first is at {}", host,
                               route.prefix, first->second));
        break;
      }
    }
  }
  if (value.isSequence() && routes.empty()) {
    value.error("expected at least one route");
  }
  return routes;
}

ListenerTlsConfig readTls(const YamlValue& value) {
  ListenerTlsConfig tls;
  YamlMap map(value);
  requireText(map, "certificate", tls.certificate);
  requireText(map, "private_key", tls.private_key);
  readText(map, "client_ca", tls.client_ca);
  map.finish();
  return tls;
}

std::vector<net::AddressRange> readRanges(const YamlValue& value) {
  std::vector<net::AddressRange> ranges;
  for (const YamlValue& item : value.items()) {
    if (const auto text = item.string()) {
      if (const auto range = net::AddressRange::parse(*text)) {
        ranges.push_back(*range);
      } else {
        item.error(range.error().message);
      }
    }
  }
  return ranges;
}

void readRate(YamlMap& map, std::string_view key, RateConfig& rate) {
  if (const auto value = map.find(key)) {
    YamlMap fields(*value);
    fields.optional("burst", rate.burst, {0, 1'000'000});
    fields.optional("per_second", rate.per_second, {1, 1'000'000});
    fields.finish();
  }
}

void readBounds(YamlMap& map, ListenerConfig& listener) {
  map.optional("max_connections", listener.max_connections, {1, 1'000'000});
  map.optional("max_streams", listener.max_streams, {1, 100'000});
  map.optional("stream_window", listener.stream_window, {1_KiB, kMaxWindow});
  map.optional("connection_window", listener.connection_window, {64_KiB, kMaxWindow});
  if (listener.stream_window > listener.connection_window) {
    const auto at = map.find("stream_window");
    (at ? *at : *map.find("connection_window"))
        .error("expected stream_window to be at most connection_window");
  }
  map.optional("max_header_bytes", listener.max_header_bytes, {1_KiB, 1_MiB});
  map.optional("max_header_fields", listener.max_header_fields, {10, 10'000});
  map.optional("max_path_bytes", listener.max_path_bytes, {1_B, 1_MiB});
  map.optional("max_chunks", listener.max_chunks, {1, UINT32_MAX});
  map.optional("max_chunk_extension_bytes", listener.max_chunk_extension_bytes, {0_B, 64_KiB});
  map.optional("max_outbound_frames", listener.max_outbound_frames, {100, 1'000'000});
  readRate(map, "client_resets", listener.client_resets);
  readRate(map, "forced_resets", listener.forced_resets);
  readRate(map, "frame_budget", listener.frame_budget);
  map.optional("max_requests_per_connection", listener.max_requests_per_connection);
}

void readTimeouts(YamlMap& map, ListenerConfig& listener) {
  map.optional("tls_handshake_timeout", listener.tls_handshake_timeout, kAnyTimeout);
  map.optional("preface_timeout", listener.preface_timeout, kAnyTimeout);
  map.optional("settings_ack_timeout", listener.settings_ack_timeout, kAnyTimeout);
  map.optional("header_timeout", listener.header_timeout, kAnyTimeout);
  map.optional("body_idle_timeout", listener.body_idle_timeout, kAnyTimeout);
  map.optional("min_body_rate", listener.min_body_rate, {0_B, kMaxBuffer});
  map.optional("idle_timeout", listener.idle_timeout, kAnyTimeout);
  map.optional("write_timeout", listener.write_timeout, kAnyTimeout);
}

}  // namespace

std::vector<ListenerConfig> readListeners(const YamlValue& value,
                                          std::vector<ClusterReference>& references) {
  std::vector<ListenerConfig> listeners;
  // The log and the metrics call the admin server's own listener so.
  std::set<std::string> names{"admin"};
  for (const YamlValue& item : value.items()) {
    ListenerConfig& listener = listeners.emplace_back();
    YamlMap map(item);
    readName(map, listener.name, names);
    if (const auto address = map.need("address")) {
      if (auto text = address->string(); text && checkAddress(*address, *text, true)) {
        listener.address = std::move(*text);
      }
    }
    map.optional("reuse_port", listener.reuse_port);
    if (const auto tls = map.find("tls")) {
      listener.tls = readTls(*tls);
    }
    if (const auto trusted = map.find("trusted_proxies")) {
      listener.trusted_proxies = readRanges(*trusted);
    }
    map.choice("half_close", listener.half_close,
               {{"answer", HalfClose::kAnswer}, {"departure", HalfClose::kDeparture}});
    readBounds(map, listener);
    readTimeouts(map, listener);
    if (const auto routes = map.need("routes")) {
      listener.routes = readRoutes(*routes, references);
    }
    map.finish();
  }
  if (value.isSequence() && listeners.empty()) {
    value.error("expected at least one listener");
  }
  return listeners;
}

}  // namespace penstock::proxy
