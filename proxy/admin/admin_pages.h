#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "proxy/cluster/cluster_status.h"
#include "proxy/scaling/autoscaler.h"

namespace penstock::proxy {

// What the proxy as a whole is doing.
enum class ServerState { kStarting, kServing, kDraining };

struct ServerStatus {
  std::string version;
  ServerState state = ServerState::kStarting;
  Duration uptime{};
  unsigned workers = 0;
};

// Where the admin server gets what it shows. All but the dump are asked for at each request, on the
// main loop.
struct AdminSources {
  std::function<ServerStatus()> server;
  std::function<std::vector<ClusterStatus>()> clusters;
  std::function<std::vector<ScalingStatus>()> scaling;
  std::function<std::string()> metrics;  // in Prometheus' text format
  std::string config_dump;               // JSON
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
// What /clusters answers.
std::string clustersJson(const std::vector<ClusterStatus>& clusters);

}  // namespace penstock::proxy
