#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/quantity.h"
#include "net/address.h"
#include "proxy/config/loader_parts.h"
#include "proxy/config/settings.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMaxCount = 1'000'000;

ClusterTlsConfig readTls(const YamlValue& value) {
  ClusterTlsConfig tls;
  YamlMap map(value);
  readText(map, "ca", tls.ca);
  readText(map, "server_name", tls.server_name);
  map.finish();
  return tls;
}

StaticReplicas readStatic(const YamlValue& value) {
  StaticReplicas replicas;
  for (const YamlValue& item : value.items()) {
    auto text = item.string();
    if (!text || !checkAddress(item, *text, false)) {
      continue;
    }
    if (std::ranges::find(replicas.addresses, *text) != replicas.addresses.end()) {
      item.error(fmt::format("expected each replica once, got {} again", *text));
    } else {
      replicas.addresses.push_back(std::move(*text));
    }
  }
  if (value.isSequence() && value.items().empty()) {
    value.error("expected at least one address");
  }
  return replicas;
}

void checkCommand(const YamlValue& value, const std::vector<std::string>& command) {
  if (command.empty() || command.front().empty()) {
    value.error("expected a program and its arguments");
  } else if (std::ranges::none_of(command, [](const std::string& argument) {
               return argument.contains("{address}");
             })) {
    value.error("expected an argument with {address}, which tells the replica where to listen");
  }
}

ProcessReplicas readProcess(const YamlValue& value) {
  ProcessReplicas replicas;
  YamlMap map(value);
  if (map.required("command", replicas.command)) {
    checkCommand(*map.find("command"), replicas.command);
  }
  map.optional("start_timeout", replicas.start_timeout, kAnyTimeout);
  map.optional("drain_timeout", replicas.drain_timeout, kAnyDelay);
  map.optional("stop_timeout", replicas.stop_timeout, kAnyDelay);
  map.finish();
  return replicas;
}

// Of a name server: an IP address, whose port is 53 if there is none.
std::optional<net::Address> resolverAddress(std::string_view text) {
  if (text.starts_with("localhost")) {
    return std::nullopt;
  }
  const auto colons = std::ranges::count(text, ':');
  const bool bracketed = text.starts_with('[');
  std::string with_port(text);
  if (colons > 1 && !bracketed) {
    with_port = fmt::format("[{}]:53", text);
  } else if (colons == 0 || text.ends_with(']')) {
    with_port += ":53";
  }
  const auto address = net::Address::parse(with_port);
  return address && address->port() != 0 ? std::optional(*address) : std::nullopt;
}

void readResolvers(const YamlValue& value, std::vector<std::string>& resolvers) {
  for (const YamlValue& item : value.items()) {
    const auto text = item.string();
    if (!text) {
      continue;
    }
    if (const auto address = resolverAddress(*text)) {
      resolvers.push_back(address->toString());
    } else {
      item.error(fmt::format(
          "expected the IP address of a name server, with its port if that is not 53, such as "
          "10.96.0.10, 10.96.0.10:5353 or [fd00::a]:53, got \"{}\"",
          *text));
    }
  }
}

// As with the fleet's bounds, one that stands alone goes before the other's default.
void readRefresh(YamlMap& map, DnsReplicas& replicas) {
  map.optional("min_refresh", replicas.min_refresh, {10ms, 1h});
  map.optional("max_refresh", replicas.max_refresh, {10ms, 1h});
  const auto longest = map.find("max_refresh");
  if (!longest) {
    replicas.max_refresh = std::max(replicas.max_refresh, replicas.min_refresh);
  } else if (replicas.max_refresh < replicas.min_refresh) {
    longest->error(fmt::format("expected at least min_refresh ({}), got {}",
                               toString(replicas.min_refresh), toString(replicas.max_refresh)));
  }
}

DnsReplicas readDns(const YamlValue& value) {
  DnsReplicas replicas;
  YamlMap map(value);
  if (map.required("name", replicas.name) && replicas.name.empty()) {
    map.find("name")->error("expected the name of the replicas");
  }
  map.optional("srv", replicas.srv);
  if (replicas.srv) {
    if (const auto port = map.find("port")) {
      port->error("expected no port with srv: its records bring the ports");
    }
  } else {
    map.required("port", replicas.port, {1, 65'535});
  }
  map.choice<AddressFamily>("family", replicas.family,
                            {{"both", AddressFamily::kBoth},
                             {"ipv4", AddressFamily::kIpv4},
                             {"ipv6", AddressFamily::kIpv6}});
  if (const auto resolvers = map.find("resolvers")) {
    readResolvers(*resolvers, replicas.resolvers);
  }
  readRefresh(map, replicas);
  map.optional("timeout", replicas.timeout, {10ms, 1min});
  map.finish();
  return replicas;
}

ReplicasConfig readReplicas(const YamlValue& value) {
  ReplicasConfig replicas;
  YamlMap map(value);
  const auto addresses = map.find("static");
  const auto process = map.find("process");
  const auto dns = map.find("dns");
  if (value.isMap() && addresses.has_value() + process.has_value() + dns.has_value() != 1) {
    value.error("expected one of static, process and dns");
  } else if (addresses) {
    replicas = readStatic(*addresses);
  } else if (process) {
    replicas = readProcess(*process);
  } else if (dns) {
    replicas = readDns(*dns);
  }
  map.finish();
  return replicas;
}

HealthCheckConfig readHealthCheck(const YamlValue& value) {
  HealthCheckConfig check;
  YamlMap map(value);
  if (const auto path = map.find("path")) {
    if (auto text = path->string(); text && checkPath(*path, *text)) {
      check.path = std::move(*text);
    }
  }
  if (const auto grpc = map.find("grpc")) {
    check.grpc = grpc->string();
    if (map.find("path")) {
      grpc->error("expected one of path and grpc");
    }
  }
  map.optional("interval", check.interval, {10ms, 1h});
  map.optional("timeout", check.timeout, {1ms, 1h});
  map.optional("unhealthy_threshold", check.unhealthy_threshold, {1, 1'000});
  map.optional("healthy_threshold", check.healthy_threshold, {1, 1'000});
  map.finish();
  return check;
}

EjectionConfig readEjection(const YamlValue& value) {
  EjectionConfig ejection;
  YamlMap map(value);
  map.optional("consecutive_failures", ejection.consecutive_failures, {0, kMaxCount});
  map.optional("base_time", ejection.base_time, kAnyTimeout);
  map.finish();
  return ejection;
}

RetryConfig readRetry(const YamlValue& value) {
  RetryConfig retry;
  YamlMap map(value);
  map.optional("max_attempts", retry.max_attempts, {1, 10});
  map.optional("budget", retry.budget, {0, 100});
  map.optional("min_concurrent", retry.min_concurrent, {0, kMaxCount});
  map.finish();
  return retry;
}

// How the proxy speaks to the replicas.
void readConnections(YamlMap& map, ClusterConfig& cluster) {
  map.choice<UpstreamProtocol>("protocol", cluster.protocol,
                               {{"auto", UpstreamProtocol::kAuto},
                                {"h2", UpstreamProtocol::kHttp2},
                                {"http1", UpstreamProtocol::kHttp1}});
  if (const auto tls = map.find("tls")) {
    cluster.tls = readTls(*tls);
  }
  map.optional("connect_timeout", cluster.connect_timeout, kAnyTimeout);
  map.optional("max_connect_attempts", cluster.max_connect_attempts, {1, 10});
  map.optional("max_connections", cluster.max_connections, {0, kMaxCount});
  map.optional("max_response_header_bytes", cluster.max_response_header_bytes, {1_KiB, 1_MiB});
  map.optional("max_response_header_fields", cluster.max_response_header_fields, {10, 10'000});
  map.optional("max_informational", cluster.max_informational, {0, 1'000});
  map.optional("idle_timeout_http1", cluster.idle_timeout_http1, kAnyDelay);
  map.optional("idle_timeout_http2", cluster.idle_timeout_http2, kAnyDelay);
}

// What happens when replicas or clients misbehave.
void readResilience(YamlMap& map, ClusterConfig& cluster) {
  if (const auto health_check = map.find("health_check")) {
    cluster.health_check = readHealthCheck(*health_check);
    if (cluster.health_check->grpc && cluster.protocol == UpstreamProtocol::kHttp1) {
      health_check->error("grpc needs HTTP/2, and the cluster has protocol: http1");
    }
  }
  if (const auto ejection = map.find("ejection")) {
    cluster.ejection = readEjection(*ejection);
  }
  if (const auto retry = map.find("retry")) {
    cluster.retry = readRetry(*retry);
  }
  map.choice<OnClientGone>("on_client_gone", cluster.on_client_gone,
                           {{"wait", OnClientGone::kWait}, {"reset", OnClientGone::kReset}});
  map.optional("cancel_grace", cluster.cancel_grace, kAnyDelay);
}

ClusterConfig readCluster(const YamlValue& value, std::set<std::string>& names) {
  ClusterConfig cluster;
  YamlMap map(value);
  readName(map, cluster.name, names);
  if (const auto replicas = map.need("replicas")) {
    cluster.replicas = readReplicas(*replicas);
  }
  readConnections(map, cluster);
  readResilience(map, cluster);
  SettingsLayer settings;
  readSettings(map, settings);
  static_cast<ClusterSettings&>(cluster) = settings.values;
  cluster.settings_given = settings.given;
  map.finish();
  return cluster;
}

}  // namespace

std::vector<ClusterConfig> readClusters(const YamlValue& value) {
  std::vector<ClusterConfig> clusters;
  std::set<std::string> names;
  for (const YamlValue& item : value.items()) {
    clusters.push_back(readCluster(item, names));
  }
  if (value.isSequence() && clusters.empty()) {
    value.error("expected at least one cluster");
  }
  return clusters;
}

}  // namespace penstock::proxy
