#include "proxy/settings/runtime_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proxy/config/loader.h"
#include "tests/support/captured_log.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_folder.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Answer = SettingsAnswer::Result;

class RuntimeSettingsTest : public ::testing::Test {
 protected:
  static Config config(std::string_view of_m, std::string_view of_n = "") {
    std::string text =
        "listeners: [{name: i, address: '127.0.0.1:0', routes: [{prefix: /, cluster: m}]}]\n"
        "clusters:\n"
        "  - {name: m, replicas: {process: {command: [a, '{address}']}}";
    text.append(of_m).append("}\n  - {name: n, replicas: {static: ['127.0.0.1:1']}").append(of_n);
    return parseConfig(text + "}\n", "p.yaml").value();
  }

  // As main and the server do it. Again: a restart.
  void start(Config file, bool with_overrides = true) {
    if (with_overrides) {
      file.admin.overrides_file = overrides;
    }
    StartConfig from{.file = "p.yaml", .config = file, .overrides = loadOverrides(file).value()};
    settings.reset();
    clusters.clear();
    metrics.emplace();
    for (const ClusterConfig& cluster : from.effective().clusters) {
      clusters.push_back(std::make_unique<Cluster>(cluster, clock, *metrics));
    }
    settings.emplace(from.config, from.overrides, clusters, log.logger());
  }
  SettingsAnswer change(std::string_view patch, std::string_view cluster = "m") {
    return settings->change(cluster, patch);
  }
  json kept() const { return json::parse(folder.content("overrides.json"))["clusters"]; }
  json sources(const char* cluster = "m") const {
    return json::parse(settings->dump())["sources"][cluster];
  }
  std::uint32_t target(std::size_t cluster = 0) const {
    return clusters[cluster]->queue().snapshot().target;
  }

  TemporaryFolder folder;
  const std::string overrides = folder.path("overrides.json");
  CapturedLog log;
  ManualClock clock;
  std::optional<Metrics> metrics;
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::optional<RuntimeSettings> settings;
};

TEST_F(RuntimeSettingsTest, AChangeIsInEffectAndKept) {
  start(config(", concurrency_target: 2"));
  const SettingsAnswer answer = change(R"({"concurrency_target": 4, "queue": {"timeout": "90s"}})");
  EXPECT_EQ(answer.result, Answer::kAccepted);
  EXPECT_EQ(json::parse(answer.text)["concurrency_target"], 4);
  EXPECT_EQ(answer.text, settings->show("m"));
  EXPECT_EQ(target(), 4u);
  EXPECT_EQ(clusters[0]->queueTimeout(), 90s);
  EXPECT_EQ(kept(),
            json::parse(R"({"m": {"concurrency_target": 4, "queue": {"timeout": "90s"}}})"));
  EXPECT_EQ(target(1), 1u);
}

TEST_F(RuntimeSettingsTest, WhatIsSoAlreadyIsUnchanged) {
  start(config(", concurrency_target: 2"));
  EXPECT_EQ(change(R"({"concurrency_target": 2})").result, Answer::kUnchanged);
  EXPECT_EQ(change("{}").result, Answer::kUnchanged);
  EXPECT_EQ(change(R"({"concurrency_target": null})").result, Answer::kUnchanged);
  EXPECT_EQ(folder.content("overrides.json"), "");
  change(R"({"concurrency_target": 3})");
  EXPECT_EQ(change(R"({"concurrency_target": 3})").result, Answer::kUnchanged);
}

TEST_F(RuntimeSettingsTest, AnInvalidChangeIsNoneAtAll) {
  start(config(", autoscaling: {min_replicas: 1, max_replicas: 2}"));
  EXPECT_EQ(change(R"({"concurrency_target": 4, "queue": {"timeout": 1}})").result,
            Answer::kInvalid);
  const SettingsAnswer answer =
      change(R"({"concurrency_target": 4, "autoscaling": {"min_replicas": 3}})");
  EXPECT_EQ(answer.result, Answer::kInvalid);
  EXPECT_EQ(answer.text, "autoscaling.max_replicas: expected at least min_replicas (3), got 2");
  EXPECT_EQ(target(), 1u);
  EXPECT_EQ(folder.content("overrides.json"), "");
  EXPECT_EQ(sources()["concurrency_target"], "default");
}

TEST_F(RuntimeSettingsTest, WhatCannotBeKeptIsNotApplied) {
  start(config(""));
  std::filesystem::create_directory(overrides);
  EXPECT_EQ(change(R"({"concurrency_target": 4})").result, Answer::kNotKept);
  EXPECT_EQ(target(), 1u);
  EXPECT_EQ(sources()["concurrency_target"], "default");
}

TEST_F(RuntimeSettingsTest, WithoutAFileChangesLastUntilTheEnd) {
  start(config(""), false);
  EXPECT_EQ(change(R"({"concurrency_target": 4})").result, Answer::kAccepted);
  EXPECT_EQ(target(), 4u);
  start(config(""), false);
  EXPECT_EQ(target(), 1u);
}

TEST_F(RuntimeSettingsTest, TellsWhereEachValueComesFrom) {
  start(config(", concurrency_target: 2, queue: {timeout: 5s}"));
  change(R"({"concurrency_target": 4})");
  EXPECT_EQ(sources()["concurrency_target"], "patch");
  EXPECT_EQ(sources()["queue.timeout"], "file");
  EXPECT_EQ(sources()["queue.max_bytes"], "default");
  EXPECT_EQ(sources("n")["queue.timeout"], "default");
  start(config(", concurrency_target: 2, queue: {timeout: 5s}"));
  EXPECT_EQ(target(), 4u);
  EXPECT_EQ(sources()["concurrency_target"], "overrides");
  change(R"({"queue": {"timeout": "9s"}})");
  EXPECT_EQ(sources()["concurrency_target"], "overrides");
  EXPECT_EQ(sources()["queue.timeout"], "patch");
  EXPECT_EQ(json::parse(settings->dump())["clusters"][0]["queue"]["timeout"], "9s");
}

TEST_F(RuntimeSettingsTest, AResetBringsTheValueOfTheFileBack) {
  start(config(", concurrency_target: 2"));
  change(R"({"concurrency_target": 4, "queue": {"timeout": "9s", "max_requests": 1}})");
  EXPECT_EQ(change(R"({"concurrency_target": null, "queue": null})").result, Answer::kAccepted);
  EXPECT_EQ(target(), 2u);
  EXPECT_EQ(clusters[0]->queueTimeout(), 600s);
  EXPECT_EQ(sources()["concurrency_target"], "file");
  EXPECT_EQ(kept(), json::object());
}

TEST_F(RuntimeSettingsTest, AValueThatIsTheFilesIsNoChangeOfIt) {
  start(config(", concurrency_target: 2"));
  change(R"({"concurrency_target": 4})");
  EXPECT_EQ(change(R"({"concurrency_target": 2})").result, Answer::kAccepted);
  EXPECT_EQ(sources()["concurrency_target"], "file");
  EXPECT_EQ(kept(), json::object());
}

TEST_F(RuntimeSettingsTest, ANewFileLiesBelowOverridesAndChanges) {
  start(config(""));
  change(R"({"queue": {"max_requests": 5}})");
  start(config(""));
  change(R"({"queue": {"timeout": "9s"}})");
  ASSERT_TRUE(settings->takeOn(
      config(", concurrency_target: 3, queue: {max_requests: 6, timeout: 6s, max_bytes: 6B}")));
  const ClusterSettings now = clusters[0]->settings();
  EXPECT_EQ(now.concurrency_target, 3u);
  EXPECT_EQ(now.queue.max_requests, 5u);
  EXPECT_EQ(now.queue.timeout, 9s);
  EXPECT_EQ(now.queue.max_bytes, 6_B);
  EXPECT_EQ(sources()["concurrency_target"], "file");
  EXPECT_EQ(sources()["queue.max_requests"], "overrides");
  EXPECT_EQ(sources()["queue.timeout"], "patch");
}

TEST_F(RuntimeSettingsTest, ANewFileThatTheChangesContradictIsNotTakenOn) {
  start(config(", autoscaling: {max_replicas: 5}"));
  change(R"({"autoscaling": {"min_replicas": 4}})");
  const auto taken =
      settings->takeOn(config(", concurrency_target: 3, autoscaling: {max_replicas: 2}"));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message,
            "cluster \"m\": autoscaling.max_replicas: expected at least min_replicas (4), got 2 "
            "(changed settings over the configuration file)");
  EXPECT_EQ(target(), 1u);
  EXPECT_EQ(clusters[0]->settings().autoscaling.max_replicas, 5u);
}

TEST_F(RuntimeSettingsTest, ANewFileMayNameTheClustersInAnotherOrder) {
  start(config(""));
  Config file = config(", concurrency_target: 3", ", concurrency_target: 4");
  std::swap(file.clusters[0], file.clusters[1]);
  ASSERT_TRUE(settings->takeOn(file));
  EXPECT_EQ(target(0), 3u);
  EXPECT_EQ(target(1), 4u);
}

TEST_F(RuntimeSettingsTest, ShowsNothingOfAnUnknownCluster) {
  start(config(""));
  EXPECT_EQ(settings->show("x"), std::nullopt);
}

}  // namespace
}  // namespace penstock::proxy
