#include "proxy/config/dump.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/quantity.h"

namespace penstock::proxy {
namespace {

// Keeps the order of insertion, which is the order of the documentation.
using Json = nlohmann::ordered_json;

Json dump(const AdminConfig& admin) {
  Json json{{"address", admin.address}};
  if (!admin.token_file.empty()) {
    json["token_file"] = admin.token_file;
  }
  if (!admin.overrides_file.empty()) {
    json["overrides_file"] = admin.overrides_file;
  }
  return json;
}

Json dump(const RouteConfig& route) {
  Json json{{"prefix", route.prefix}};
  if (!route.hosts.empty()) {
    json["hosts"] = route.hosts;
  }
  json["cluster"] = route.cluster;
  json["timeout"] = toString(route.timeout);
  if (route.first_byte_timeout) {
    json["first_byte_timeout"] = toString(*route.first_byte_timeout);
  }
  json["stream_idle_timeout"] = toString(route.stream_idle_timeout);
  json["request_buffer"] = toString(route.request_buffer);
  json["response_buffer"] = toString(route.response_buffer);
  json["max_request_body"] = toString(route.max_request_body);
  json["idempotent"] = route.idempotent;
  return json;
}

Json dump(const ListenerTlsConfig& tls) {
  Json json{{"certificate", tls.certificate}, {"private_key", tls.private_key}};
  if (!tls.client_ca.empty()) {
    json["client_ca"] = tls.client_ca;
  }
  return json;
}

Json dump(const RateConfig& rate) {
  return {{"burst", rate.burst}, {"per_second", rate.per_second}};
}

Json dump(const ListenerConfig& listener) {
  Json json{{"name", listener.name}, {"address", listener.address}};
  json["reuse_port"] = listener.reuse_port;
  if (listener.tls) {
    json["tls"] = dump(*listener.tls);
  }
  json["trusted_proxies"] = Json::array();
  for (const net::AddressRange& range : listener.trusted_proxies) {
    json["trusted_proxies"].push_back(range.toString());
  }
  json["max_connections"] = listener.max_connections;
  json["max_streams"] = listener.max_streams;
  json["stream_window"] = toString(listener.stream_window);
  json["connection_window"] = toString(listener.connection_window);
  json["max_header_bytes"] = toString(listener.max_header_bytes);
  json["max_header_fields"] = listener.max_header_fields;
  json["max_path_bytes"] = toString(listener.max_path_bytes);
  json["max_chunks"] = listener.max_chunks;
  json["max_chunk_extension_bytes"] = toString(listener.max_chunk_extension_bytes);
  json["max_outbound_frames"] = listener.max_outbound_frames;
  json["client_resets"] = dump(listener.client_resets);
  json["forced_resets"] = dump(listener.forced_resets);
  json["frame_budget"] = dump(listener.frame_budget);
  json["max_requests_per_connection"] = listener.max_requests_per_connection;
  json["half_close"] = listener.half_close == HalfClose::kAnswer ? "answer" : "departure";
  json["tls_handshake_timeout"] = toString(listener.tls_handshake_timeout);
  json["preface_timeout"] = toString(listener.preface_timeout);
  json["settings_ack_timeout"] = toString(listener.settings_ack_timeout);
  json["header_timeout"] = toString(listener.header_timeout);
  json["body_idle_timeout"] = toString(listener.body_idle_timeout);
  json["min_body_rate"] = toString(listener.min_body_rate);
  json["idle_timeout"] = toString(listener.idle_timeout);
  json["write_timeout"] = toString(listener.write_timeout);
  json["routes"] = Json::array();
  for (const RouteConfig& route : listener.routes) {
    json["routes"].push_back(dump(route));
  }
  return json;
}

std::string word(AddressFamily family) {
  switch (family) {
    case AddressFamily::kBoth:
      return "both";
    case AddressFamily::kIpv4:
      return "ipv4";
    case AddressFamily::kIpv6:
      return "ipv6";
  }
  return "";
}

Json dump(const DnsReplicas& dns) {
  Json json{{"name", dns.name}};
  if (dns.srv) {
    json["srv"] = true;
  } else {
    json["port"] = dns.port;
  }
  json["family"] = word(dns.family);
  if (!dns.resolvers.empty()) {
    json["resolvers"] = dns.resolvers;
  }
  json["min_refresh"] = toString(dns.min_refresh);
  json["max_refresh"] = toString(dns.max_refresh);
  json["timeout"] = toString(dns.timeout);
  return json;
}

Json dump(const ReplicasConfig& replicas) {
  if (const auto* dns = std::get_if<DnsReplicas>(&replicas)) {
    return {{"dns", dump(*dns)}};
  }
  if (const auto* fixed = std::get_if<StaticReplicas>(&replicas)) {
    return {{"static", fixed->addresses}};
  }
  const auto& process = std::get<ProcessReplicas>(replicas);
  return {{"process",
           {{"command", process.command},
            {"start_timeout", toString(process.start_timeout)},
            {"drain_timeout", toString(process.drain_timeout)},
            {"stop_timeout", toString(process.stop_timeout)}}}};
}

Json dump(const ClusterTlsConfig& tls) {
  Json json = Json::object();
  if (!tls.ca.empty()) {
    json["ca"] = tls.ca;
  }
  if (!tls.server_name.empty()) {
    json["server_name"] = tls.server_name;
  }
  return json;
}

Json dump(const HealthCheckConfig& check) {
  Json json{{"interval", toString(check.interval)},
            {"timeout", toString(check.timeout)},
            {"unhealthy_threshold", check.unhealthy_threshold},
            {"healthy_threshold", check.healthy_threshold}};
  json[check.grpc ? "grpc" : "path"] = check.grpc.value_or(check.path);
  return json;
}

Json dump(const ClusterSettings& settings) {
  const QueueConfig& queue = settings.queue;
  const AutoscalingConfig& autoscaling = settings.autoscaling;
  return {{"concurrency_target", settings.concurrency_target},
          {"queue",
           {{"max_requests", queue.max_requests},
            {"max_bytes", toString(queue.max_bytes)},
            {"timeout", toString(queue.timeout)}}},
          {"autoscaling",
           {{"min_replicas", autoscaling.min_replicas},
            {"max_replicas", autoscaling.max_replicas},
            {"window", toString(autoscaling.window)},
            {"scale_down_delay", toString(autoscaling.scale_down_delay)},
            {"target_utilization", autoscaling.target_utilization},
            {"max_scale_down_rate", autoscaling.max_scale_down_rate}}}};
}

Json dump(const SettingsLayer& layer) {
  const Json all = dump(layer.values);
  Json json = Json::object();
  for (const Setting setting : allSettings()) {
    if (layer.given[indexOf(setting)]) {
      std::string pointer = "/" + std::string(nameOf(setting));
      std::ranges::replace(pointer, '.', '/');
      const Json::json_pointer at(pointer);
      json[at] = all[at];
    }
  }
  return json;
}

Json dump(const SettingSources& sources) {
  Json json;
  for (const Setting setting : allSettings()) {
    json[std::string(nameOf(setting))] = nameOf(sources[indexOf(setting)]);
  }
  return json;
}

std::string text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string word(UpstreamProtocol protocol) {
  switch (protocol) {
    case UpstreamProtocol::kAuto:
      return "auto";
    case UpstreamProtocol::kHttp2:
      return "h2";
    case UpstreamProtocol::kHttp1:
      return "http1";
  }
  return "";
}

Json dump(const ClusterConfig& cluster) {
  const Json settings = dump(static_cast<const ClusterSettings&>(cluster));
  Json json{{"name", cluster.name}};
  json.update(settings);
  json["replicas"] = dump(cluster.replicas);
  json["protocol"] = word(cluster.protocol);
  if (cluster.tls) {
    json["tls"] = dump(*cluster.tls);
  }
  json["connect_timeout"] = toString(cluster.connect_timeout);
  json["max_connect_attempts"] = cluster.max_connect_attempts;
  json["max_connections"] = cluster.max_connections;
  json["max_response_header_bytes"] = toString(cluster.max_response_header_bytes);
  json["max_response_header_fields"] = cluster.max_response_header_fields;
  json["max_informational"] = cluster.max_informational;
  json["idle_timeout_http1"] = toString(cluster.idle_timeout_http1);
  json["idle_timeout_http2"] = toString(cluster.idle_timeout_http2);
  if (cluster.health_check) {
    json["health_check"] = dump(*cluster.health_check);
  }
  json["ejection"] = {{"consecutive_failures", cluster.ejection.consecutive_failures},
                      {"base_time", toString(cluster.ejection.base_time)}};
  json["retry"] = {{"max_attempts", cluster.retry.max_attempts},
                   {"budget", cluster.retry.budget},
                   {"min_concurrent", cluster.retry.min_concurrent}};
  json["on_client_gone"] = cluster.on_client_gone == OnClientGone::kWait ? "wait" : "reset";
  json["cancel_grace"] = toString(cluster.cancel_grace);
  return json;
}

}  // namespace

std::string dumpConfig(const Config& config, std::span<const SettingSources> sources) {
  Json json{{"admin", dump(config.admin)}};
  if (config.external_scaler) {
    json["external_scaler"] = {{"address", config.external_scaler->address}};
  }
  json["access_log"] = {
      {"path", config.access_log.path},
      {"format", config.access_log.format == AccessLogFormat::kJson ? "json" : "default"}};
  json["limits"] = Json::object();
  if (config.limits.max_buffered) {
    json["limits"]["max_buffered"] = toString(*config.limits.max_buffered);
  }
  json["drain_timeout"] = toString(config.drain_timeout);
  json["listeners"] = Json::array();
  for (const ListenerConfig& listener : config.listeners) {
    json["listeners"].push_back(dump(listener));
  }
  json["clusters"] = Json::array();
  for (const ClusterConfig& cluster : config.clusters) {
    json["clusters"].push_back(dump(cluster));
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    json["sources"][config.clusters[i].name] = dump(sources[i]);
  }
  return text(json);
}

std::string dumpSettings(const ClusterSettings& settings) {
  return text(dump(settings));
}

std::string dumpOverrides(const std::map<std::string, SettingsLayer>& clusters) {
  Json json{{"clusters", Json::object()}};
  for (const auto& [name, layer] : clusters) {
    json["clusters"][name] = dump(layer);
  }
  return text(json);
}

}  // namespace penstock::proxy
