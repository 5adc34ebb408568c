#include "proxy/admin/admin_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;

ClusterStatus someCluster() {
  AdmissionQueue::Snapshot snapshot{};
  snapshot.target = 2;
  snapshot.waiting = 3;
  snapshot.in_flight = 1;
  snapshot.oldest_wait = 1500ms;
  snapshot.waiting_bytes = 99;
  return {.name = "m",
          .queue = snapshot,
          .bounds = {.max_requests = 7, .max_bytes = {1000}, .timeout = 90s},
          .replicas = {{.address = net::Address::loopback(8090),
                        .state = ReplicaState::kEjected,
                        .incarnation = 4,
                        .in_flight = 1,
                        .requests = 12,
                        .succeeded = 10,
                        .failed = 2}},
          .predict_concurrency = 2};
}

ScalingStatus someScaling() {
  const TimePoint now{100s};
  ScalingRecord record{.at = now - 2s,
                       .settings = {.concurrency_target = 10, .autoscaling = {.max_replicas = 8}},
                       .fleet = {.ready = 3, .starting = 1},
                       .load = {.waiting = 5, .in_flight = 20},
                       .decision = {.replicas = 4, .reason = ScalingReason::kDemand}};
  record.decision.desired = {.lasting = 4, .burst = 2, .demand = 25, .short_demand = 12.5};
  return {.cluster = "denoise", .now = now, .latest = record, .changes = {record}};
}

class AdminPagesTest : public ::testing::Test {
 protected:
  AdminPage get(std::string_view path) { return adminPage(sources, path); }

  ServerStatus server{.version = "1.2.3",
                      .state = ServerState::kServing,
                      .uptime = 2500ms,
                      .workers = 4,
                      .config_file = "p.yaml",
                      .reloads = {}};
  AdminSources sources{.server = [this] { return server; },
                       .clusters = [] { return std::vector{someCluster()}; },
                       .scaling = [] { return std::vector{someScaling()}; },
                       .metrics = [] { return std::string("a_metric 1\n"); },
                       .config_dump = [] { return std::string("{\"clusters\":[]}"); },
                       .settings =
                           [](std::string_view cluster) {
                             return cluster == "m" ? std::optional<std::string>("{}")
                                                   : std::nullopt;
                           },
                       .change_settings = nullptr,
                       .token = nullptr};
};

TEST_F(AdminPagesTest, ReadyIsForWhoServesOnly) {
  EXPECT_EQ(get("/ready").status, 200);
  EXPECT_EQ(get("/ready").body, "serving\n");
  server.state = ServerState::kDraining;
  EXPECT_EQ(get("/ready").status, 503);
  EXPECT_EQ(get("/ready").body, "draining\n");
  server.state = ServerState::kStarting;
  EXPECT_EQ(get("/ready").status, 503);
  EXPECT_EQ(get("/ready").body, "starting\n");
}

TEST_F(AdminPagesTest, AutoscalerTellsWhyThisNumber) {
  const auto answer = nlohmann::json::parse(get("/autoscaler").body);
  const auto& cluster = answer["clusters"][0];
  EXPECT_EQ(cluster["name"], "denoise");
  EXPECT_EQ(cluster["advice_only"], false);
  EXPECT_EQ(cluster["settings"]["concurrency_target"], 10);
  EXPECT_EQ(cluster["settings"]["max_replicas"], 8);
  EXPECT_EQ(cluster["settings"]["window_seconds"], 60);
  const auto& latest = cluster["latest"];
  EXPECT_EQ(latest["seconds_ago"], 2);
  EXPECT_EQ(latest["replicas"], 4);
  EXPECT_EQ(latest["reason"], "demand");
  EXPECT_EQ(latest["ready"], 3);
  EXPECT_EQ(latest["starting"], 1);
  EXPECT_EQ(latest["demand"], 25);
  EXPECT_EQ(latest["short_demand"], 12.5);
  EXPECT_EQ(latest["waiting"], 5);
  EXPECT_EQ(latest["by_window"], 4);
  EXPECT_EQ(cluster["changes"].size(), 1u);
}

TEST_F(AdminPagesTest, ClustersTellsQueueAndReplicas) {
  const AdminPage page = get("/clusters");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "application/json");
  EXPECT_EQ(json::parse(page.body), json::parse(R"({"clusters":[{
    "name":"m","concurrency_target":2,"predict_concurrency":2,"warnings":[],"waiting":3,"in_flight":1,"oldest_wait_seconds":1.5,
    "queue":{"max_requests":7,"max_bytes":1000,"bytes":99,"timeout_seconds":90.0},
    "replicas":[{"address":"127.0.0.1:8090","state":"ejected","incarnation":4,"target":2,
      "refusing":false,"in_flight":1,"totals":{"requests":12,"succeeded":10,"failed":2},
      "load_report":{"source":"own","rejected":0,"target_exceeded":0}}]}]})"));
}

TEST_F(AdminPagesTest, ClustersTellsWhatReplicasReport) {
  ClusterStatus cluster = someCluster();
  LoadReport report;
  report.cpu_utilization = 0.5;
  report.in_flight = 3;
  report.predict_concurrency = 2;
  report.gate_busy = 0.25;
  report.gate_idle_no_request = 0.5;
  report.gate_idle_preprocess = 0.125;
  report.gate_idle_hand_over = 0.125;
  cluster.replicas[0].load = {.source = LoadReportSource::kInBand,
                              .report = report,
                              .age = 1500ms,
                              .rejected = 4,
                              .target_exceeded = 1,
                              .stream_ended = LoadReportsEnd::kUnimplemented};
  EXPECT_EQ(json::parse(clustersJson({cluster}))["clusters"][0]["replicas"][0]["load_report"],
            json::parse(R"({"source":"in_band","age_ms":1500,"in_flight":3,"predict_concurrency":2,
      "gate_busy":0.25,"gate_idle_no_request":0.5,"gate_idle_preprocess":0.125,
      "gate_idle_hand_over":0.125,"cpu_utilization":0.5,"mem_utilization":0.0,"application_utilization":0.0,
      "draining":false,"rejected":4,"target_exceeded":1,"stream_ended":"unimplemented"})"));
}

TEST_F(AdminPagesTest, ClustersWarnsOfATargetThatIsTooLow) {
  ClusterStatus cluster = someCluster();
  const auto warnings = [&] {
    return json::parse(clustersJson({cluster}))["clusters"][0]["warnings"];
  };
  EXPECT_TRUE(warnings().empty());
  cluster.predict_concurrency = 3;
  ASSERT_EQ(warnings().size(), 1u);
  EXPECT_THAT(warnings()[0].get<std::string>(),
              HasSubstr("concurrency_target 2 is below the predict concurrency 3"));
}

TEST_F(AdminPagesTest, ANameThatIsNotUtf8DoesNotBreakThePage) {
  ClusterStatus cluster = someCluster();
  cluster.name = "\xff\"";
  EXPECT_NO_THROW(std::ignore = json::parse(clustersJson({cluster})));
}

TEST_F(AdminPagesTest, NoClustersIsAnEmptyList) {
  EXPECT_EQ(json::parse(clustersJson({})), json::parse(R"({"clusters":[]})"));
}

TEST_F(AdminPagesTest, MetricsAndDumpAreShownAsTheyAre) {
  EXPECT_EQ(get("/metrics").body, "a_metric 1\n");
  EXPECT_EQ(get("/metrics").content_type, "text/plain; version=0.0.4");
  EXPECT_EQ(get("/config_dump").body, "{\"clusters\":[]}");
  EXPECT_EQ(get("/config_dump").content_type, "application/json");
}

TEST_F(AdminPagesTest, ServerInfoTellsWhoItIs) {
  const json info = json::parse(get("/server_info").body);
  EXPECT_EQ(info["version"], "1.2.3");
  EXPECT_EQ(info["state"], "serving");
  EXPECT_EQ(info["uptime_seconds"], 2.5);
  EXPECT_EQ(info["workers"], 4);
  EXPECT_EQ(info["pid"], ::getpid());
}

TEST_F(AdminPagesTest, ServerInfoTellsHowReloadsWent) {
  const auto config = [this] { return json::parse(get("/server_info").body)["config"]; };
  EXPECT_EQ(config(), json::parse(R"({"file":"p.yaml","reloads":{"success":0,"failure":0}})"));
  server.reloads = {.succeeded = 2, .failed = 0, .last = TimePoint(), .last_error = ""};
  server.since_reload = 1500ms;
  EXPECT_EQ(config()["last_reload"], json::parse(R"({"success":true,"seconds_ago":1.5})"));
  server.reloads.failed = 1;
  server.reloads.last_error = "p.yaml:1:1: wrong";
  EXPECT_EQ(config(), json::parse(R"({"file":"p.yaml","reloads":{"success":2,"failure":1},
      "last_reload":{"success":false,"seconds_ago":1.5,"error":"p.yaml:1:1: wrong"}})"));
}

TEST_F(AdminPagesTest, TheNameInAPathOfSettings) {
  EXPECT_EQ(settingsPath("/clusters/m/settings"), "m");
  EXPECT_EQ(settingsPath("/clusters/a/settings/settings"), "a/settings");
  for (const char* path : {"/clusters", "/clusters/settings", "/clusters//settings",
                           "/clusters/m/setting", "/clusters/m/settings/", "/cluster/m/settings"}) {
    EXPECT_EQ(settingsPath(path), std::nullopt) << path;
  }
}

TEST_F(AdminPagesTest, SettingsAreShownAsTheyAre) {
  EXPECT_EQ(get("/clusters/m/settings").body, "{}");
  EXPECT_EQ(get("/clusters/m/settings").content_type, "application/json");
  EXPECT_EQ(get("/clusters/n/settings").status, 404);
}

TEST_F(AdminPagesTest, TheIndexListsEveryPage) {
  const std::string index = get("/").body;
  for (const char* page : {"/ready", "/metrics", "/clusters", "/config_dump", "/server_info"}) {
    EXPECT_THAT(index, HasSubstr(page));
    EXPECT_NE(get(page).status, 404);
  }
}

TEST_F(AdminPagesTest, AnythingElseIsNotThere) {
  for (const char* path : {"/nowhere", "/ready/", "", "/READY", "//"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
}

}  // namespace
}  // namespace penstock::proxy
