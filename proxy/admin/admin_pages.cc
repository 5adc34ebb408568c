#include "proxy/admin/admin_pages.h"

#include <algorithm>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "proxy/admin/scaling_page.h"
#include "proxy/config/shared_replicas.h"

namespace penstock::proxy {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kPrometheus = "text/plain; version=0.0.4";
constexpr std::string_view kIndex =
    "penstock-proxy\n"
    "\n"
    "/ready        200 while it serves, 503 before and while it drains\n"
    "/metrics      Prometheus' text format\n"
    "/clusters     replicas and queues, JSON\n"
    "/clusters/NAME/settings  what may be changed while it serves, JSON; PATCH changes it\n"
    "/autoscaler   how many replicas there should be, and why, JSON\n"
    "/config_dump  the configuration in effect, JSON\n"
    "/server_info  version, state, uptime, JSON\n";

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

AdminPage page(std::string_view type, std::string body) {
  return {.status = 200, .content_type = std::string(type), .body = std::move(body)};
}

template <typename Number>
void addIfKnown(Json& json, const char* name, const std::optional<Number>& value) {
  if (value.has_value()) {
    json[name] = *value;
  }
}

Json loadJson(const LoadReportStatus& load) {
  Json json{{"source", toString(load.source)}};
  if (load.report.has_value()) {
    const LoadReport& report = *load.report;
    json["age_ms"] = std::chrono::duration_cast<std::chrono::milliseconds>(load.age).count();
    addIfKnown(json, "in_flight", report.in_flight);
    addIfKnown(json, "limit", report.limit);
    addIfKnown(json, "predict_in_flight", report.predict_in_flight);
    addIfKnown(json, "predict_concurrency", report.predict_concurrency);
    addIfKnown(json, "gate_waiting", report.gate_waiting);
    addIfKnown(json, "gate_busy", report.gate_busy);
    addIfKnown(json, "gate_idle_no_request", report.gate_idle_no_request);
    addIfKnown(json, "gate_idle_preprocess", report.gate_idle_preprocess);
    addIfKnown(json, "gate_idle_hand_over", report.gate_idle_hand_over);
    json["cpu_utilization"] = report.cpu_utilization;
    json["mem_utilization"] = report.mem_utilization;
    json["application_utilization"] = report.application_utilization;
    addIfKnown(json, "gpu_utilization", report.gpu_utilization);
    addIfKnown(json, "gpu_memory", report.gpu_memory);
    json["draining"] = report.draining;
  }
  json["rejected"] = load.rejected;
  json["target_exceeded"] = load.target_exceeded;
  if (load.stream_ended.has_value()) {
    json["stream_ended"] = toString(*load.stream_ended);
  }
  return json;
}

Json replicaJson(const ReplicaStatus& replica, std::uint32_t target) {
  Json json{
      {"address", replica.address.toString()},
      {"state", toString(replica.state)},
      {"incarnation", replica.incarnation},
      {"target", target},
      {"refusing", replica.refusing},
      {"in_flight", replica.in_flight},
      {"totals",
       {{"requests", replica.requests},
        {"succeeded", replica.succeeded},
        {"failed", replica.failed}}},
      {"load_report", loadJson(replica.load.value_or(LoadReportStatus{}))},
  };
  if (!replica.last_error.empty()) {
    json["last_error"] = replica.last_error;
  }
  return json;
}

// As they are now, whatever they are known by.
std::vector<ClusterReplicas> replicasOf(const std::vector<ClusterStatus>& clusters) {
  std::vector<ClusterReplicas> result;
  for (const ClusterStatus& cluster : clusters) {
    ClusterReplicas& of_cluster = result.emplace_back(ClusterReplicas{
        .cluster = cluster.name, .concurrency_target = cluster.queue.target, .replicas = {}});
    for (const ReplicaStatus& replica : cluster.replicas) {
      of_cluster.replicas.push_back(replica.address.toString());
    }
  }
  return result;
}

Json warningsJson(const ClusterStatus& cluster, const std::vector<SharedReplicas>& shared) {
  Json warnings = Json::array();
  if (cluster.queue.target < cluster.predict_concurrency) {
    warnings.push_back("concurrency_target " + std::to_string(cluster.queue.target) +
                       " is below the predict concurrency " +
                       std::to_string(cluster.predict_concurrency) +
                       " of replicas, which cannot be reached");
  }
  if (!cluster.trouble.empty()) {
    warnings.push_back(cluster.trouble);
  }
  for (const SharedReplicas& group : shared) {
    if (std::ranges::find(group.clusters, cluster.name) != group.clusters.end()) {
      warnings.push_back(group.warning);
    }
  }
  return warnings;
}

Json clusterJson(const ClusterStatus& cluster, const std::vector<SharedReplicas>& shared) {
  Json replicas = Json::array();
  for (const ReplicaStatus& replica : cluster.replicas) {
    replicas.push_back(replicaJson(replica, cluster.queue.target));
  }
  return {
      {"name", cluster.name},
      {"concurrency_target", cluster.queue.target},
      {"predict_concurrency", cluster.predict_concurrency},
      {"warnings", warningsJson(cluster, shared)},
      {"waiting", cluster.queue.waiting},
      {"in_flight", cluster.queue.in_flight},
      {"oldest_wait_seconds", inSeconds(cluster.queue.oldest_wait)},
      {"queue",
       {{"max_requests", cluster.bounds.max_requests},
        {"max_bytes", cluster.bounds.max_bytes.count},
        {"bytes", cluster.queue.waiting_bytes},
        {"timeout_seconds", inSeconds(cluster.bounds.timeout)}}},
      {"replicas", std::move(replicas)},
  };
}

AdminPage readyPage(ServerState state) {
  AdminPage result = page(kText, std::string(toString(state)) + "\n");
  result.status = state == ServerState::kServing ? 200 : 503;
  return result;
}

Json configJson(const ServerStatus& server) {
  const ReloadStatus& reloads = server.reloads;
  Json json{{"file", server.config_file},
            {"reloads", {{"success", reloads.succeeded}, {"failure", reloads.failed}}}};
  if (reloads.last) {
    json["last_reload"] = {{"success", reloads.last_error.empty()},
                           {"seconds_ago", inSeconds(server.since_reload)}};
    if (!reloads.last_error.empty()) {
      json["last_reload"]["error"] = reloads.last_error;
    }
  }
  return json;
}

AdminPage serverPage(const ServerStatus& server) {
  return page(kJson, dump(Json{{"version", server.version},
                               {"state", toString(server.state)},
                               {"uptime_seconds", inSeconds(server.uptime)},
                               {"workers", server.workers},
                               {"pid", ::getpid()},
                               {"config", configJson(server)}}));
}

AdminPage settingsPage(const AdminSources& sources, std::string_view cluster) {
  auto settings = sources.settings(cluster);
  return settings ? page(kJson, std::move(*settings))
                  : AdminPage{.status = 404, .content_type = {}, .body = {}};
}

}  // namespace

std::string_view toString(ServerState state) {
  switch (state) {
    case ServerState::kStarting:
      return "starting";
    case ServerState::kServing:
      return "serving";
    case ServerState::kDraining:
      return "draining";
  }
  return "draining";
}

std::string clustersJson(const std::vector<ClusterStatus>& clusters) {
  const std::vector<SharedReplicas> shared = sharedReplicas(replicasOf(clusters));
  Json list = Json::array();
  for (const ClusterStatus& cluster : clusters) {
    list.push_back(clusterJson(cluster, shared));
  }
  return dump(Json{{"clusters", std::move(list)}});
}

std::optional<std::string_view> settingsPath(std::string_view path) {
  constexpr std::string_view kBefore = "/clusters/";
  constexpr std::string_view kAfter = "/settings";
  if (path.size() <= kBefore.size() + kAfter.size() || !path.starts_with(kBefore) ||
      !path.ends_with(kAfter)) {
    return std::nullopt;
  }
  path.remove_prefix(kBefore.size());
  path.remove_suffix(kAfter.size());
  return path;
}

AdminPage changeSettings(const AdminSources& sources, std::string_view cluster,
                         std::string_view patch) {
  using Result = SettingsAnswer::Result;
  const SettingsAnswer answer = sources.change_settings(cluster, patch);
  if (answer.result == Result::kInvalid || answer.result == Result::kNotKept) {
    return errorPage(answer.result == Result::kInvalid ? 400 : 500, answer.text);
  }
  const bool accepted = answer.result == Result::kAccepted;
  return page(kJson, dump(Json{{"result", accepted ? "ACCEPTED" : "UNCHANGED"},
                               {"settings", Json::parse(answer.text)}}));
}

AdminPage errorPage(int status, std::string_view message) {
  return {.status = status,
          .content_type = std::string(kJson),
          .body = dump(Json{{"error", {{"code", status}, {"message", message}}}})};
}

AdminPage adminPage(const AdminSources& sources, std::string_view path) {
  if (path == "/") {
    return page(kText, std::string(kIndex));
  }
  if (path == "/ready") {
    return readyPage(sources.server().state);
  }
  if (path == "/metrics") {
    return page(kPrometheus, sources.metrics());
  }
  if (path == "/clusters") {
    return page(kJson, clustersJson(sources.clusters()));
  }
  if (path == "/autoscaler") {
    return page(kJson, scalingJson(sources.scaling()));
  }
  if (path == "/config_dump") {
    return page(kJson, sources.config_dump());
  }
  if (const auto cluster = settingsPath(path)) {
    return settingsPage(sources, *cluster);
  }
  if (path == "/server_info") {
    return serverPage(sources.server());
  }
  return {.status = 404, .content_type = {}, .body = {}};
}

}  // namespace penstock::proxy
