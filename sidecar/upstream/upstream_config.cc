#include "sidecar/upstream/upstream_config.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDockerStartTimeout = 30min;
constexpr std::uint32_t kMaxPort = 65535;
constexpr std::uint32_t kMaxUserId = 0x7fff'ffff;

constexpr char kNoBuild[] =
    "the image's own start is not known here; expected a start_command, or "
    "penstock: { upstream: … } for a server that is started by somebody else";

bool isPath(std::string_view text) {
  return text.starts_with('/') &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

void readEndpoint(YamlMap& map, std::string_view key, bool needed, std::string& endpoint) {
  const auto value = needed ? map.need(key) : map.find(key);
  if (!value) {
    return;
  }
  const auto text = value->string();
  if (!text) {
    return;
  }
  if (isPath(*text)) {
    endpoint = *text;
  } else {
    value->error("expected a path, e.g. /health");
  }
}

// "/v1/*", "GET /stream".
std::optional<UpstreamModel::GatePattern> parseGatePattern(std::string_view text) {
  UpstreamModel::GatePattern pattern;
  if (const std::size_t space = text.find(' '); space != std::string_view::npos) {
    pattern.method = text.substr(0, space);
    text.remove_prefix(space + 1);
    if (pattern.method.empty() ||
        !std::ranges::all_of(pattern.method, [](char c) { return c >= 'A' && c <= 'Z'; })) {
      return std::nullopt;
    }
  }
  if (!isPath(text)) {
    return std::nullopt;
  }
  pattern.path = text;
  return pattern;
}

void readGate(YamlMap& penstock, UpstreamModel& model) {
  const auto value = penstock.find("gate");
  if (!value) {
    return;
  }
  model.gate.clear();
  for (const YamlValue& item : value->items()) {
    const auto text = item.string();
    if (!text) {
      continue;
    }
    if (auto pattern = parseGatePattern(*text)) {
      model.gate.push_back(std::move(*pattern));
    } else {
      item.error("expected a path like /v1/*, or a method and a path like GET /stream");
    }
  }
}

}  // namespace

void readDockerServer(const YamlValue& docker_server, Environment environment,
                      UpstreamModel& model) {
  YamlMap map(docker_server);
  map.ignoreNulls();
  UpstreamModel::Process process;
  if (map.find("no_build") && !map.find("start_command")) {
    map.keyPlace("no_build")->error(kNoBuild);
  } else {
    map.required("start_command", process.start_command);
  }
  std::uint64_t port = 0;
  needWhole(map, "server_port", port, {1, kMaxPort});
  model.address = net::Address::loopback(static_cast<std::uint16_t>(port));
  readEndpoint(map, "predict_endpoint", true, model.predict_endpoint);
  readEndpoint(map, "readiness_endpoint", true, model.readiness_endpoint);
  readEndpoint(map, "liveness_endpoint", true, model.liveness_endpoint);
  std::uint64_t user_id = 0;
  if (readWhole(map, "run_as_user_id", user_id, {0, kMaxUserId})) {
    process.user_id = static_cast<std::uint32_t>(user_id);
  }
  process.environment = std::move(environment);
  model.start_timeout = kDockerStartTimeout;
  model.process = std::move(process);
}

void readAttached(YamlMap& penstock, UpstreamModel& model) {
  const auto value = penstock.need("upstream");
  if (const auto text = value ? value->string() : std::nullopt) {
    if (const auto address = net::Address::parse(*text)) {
      model.address = *address;
    } else {
      value->error(address.error().message);
    }
  }
  readEndpoint(penstock, "predict_endpoint", false, model.predict_endpoint);
  readEndpoint(penstock, "readiness_endpoint", false, model.readiness_endpoint);
  readEndpoint(penstock, "liveness_endpoint", false, model.liveness_endpoint);
}

void readUpstreamOptions(YamlMap& penstock, UpstreamModel& model) {
  readGate(penstock, model);
  penstock.choice("protocol", model.protocol,
                  {{"http1", http::UpstreamProtocol::kHttp1},
                   {"h2", http::UpstreamProtocol::kHttp2},
                   {"auto", http::UpstreamProtocol::kAuto}});
  penstock.choice("on_client_gone", model.on_client_gone,
                  {{"reset", UpstreamModel::OnClientGone::kReset},
                   {"wait", UpstreamModel::OnClientGone::kWait}});
  penstock.optional("hang_timeout", model.hang_timeout, {1ms, 24h});
  penstock.optional("reconnect_timeout", model.reconnect_timeout, {0ms, 1h});
  Duration start_timeout{};
  if (penstock.optional("start_timeout", start_timeout, {1ms, 24h})) {
    model.start_timeout = start_timeout;
  }
  if (model.process.has_value()) {
    penstock.optional("stop_timeout", model.process->stop_timeout, {1ms, 1h});
  }
}

}  // namespace penstock::sidecar
