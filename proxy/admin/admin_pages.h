#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "proxy/cluster/cluster_status.h"
#include "proxy/scaling/autoscaler.h"
#include "proxy/settings/reload_record.h"
#include "proxy/settings/runtime_settings.h"

namespace penstock::proxy {

// What the proxy as a whole is doing.
enum class ServerState { kStarting, kServing, kDraining };

struct ServerStatus {
  std::string version;
  ServerState state = ServerState::kStarting;
  Duration uptime{};
  unsigned workers = 0;
  std::string config_file{};
  ReloadStatus reloads{};
  Duration since_reload{};  // where there was one
};

// Where the admin server gets what it shows, and what it passes changes to; at each request, on the
// main loop.
struct AdminSources {
  std::function<ServerStatus()> server;
  std::function<std::vector<ClusterStatus>()> clusters;
  std::function<std::vector<ScalingStatus>()> scaling;
  std::function<std::string()> metrics;      // in Prometheus' text format
  std::function<std::string()> config_dump;  // JSON
  // As of RuntimeSettings::show and change.
  std::function<std::optional<std::string>(std::string_view cluster)> settings;
  std::function<SettingsAnswer(std::string_view cluster, std::string_view patch)> change_settings;
  // What changes must bring; empty: nothing.
  std::function<std::string()> token;
};

struct AdminPage {
  int status = 200;
  std::string content_type;
  std::string body;
};

// "starting", "serving", "draining".
std::string_view toString(ServerState state);
// The page at a path (without query); status 404 if there is none.
AdminPage adminPage(const AdminSources& sources, std::string_view path);
// The name in "/clusters/NAME/settings".
std::optional<std::string_view> settingsPath(std::string_view path);
// Changes the settings of a cluster that exists.
AdminPage changeSettings(const AdminSources& sources, std::string_view cluster,
                         std::string_view patch);
// {"error":{"code":…,"message":…}}.
AdminPage errorPage(int status, std::string_view message);
// What /clusters answers.
std::string clustersJson(const std::vector<ClusterStatus>& clusters);

}  // namespace penstock::proxy
