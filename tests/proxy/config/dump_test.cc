#include "proxy/config/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/proxy/config/config_text.h"

namespace penstock::proxy {
namespace {

TEST(ConfigDump, LoadsToTheSameConfiguration) {
  for (const char* example : {"quickstart.yaml", "full.yaml", "static.yaml", "tls.yaml"}) {
    const std::string dumped =
        dumpConfig(loadConfig(std::string(PENSTOCK_CONFIGS) + "/" + example).value());
    EXPECT_EQ(dumpConfig(load(dumped)), dumped) << example;
  }
}

TEST(ConfigDump, HasTheDefaultsFilledIn) {
  const auto json = nlohmann::json::parse(dumpConfig(load(minimalText())));
  EXPECT_EQ(json["drain_timeout"], "30s");
  EXPECT_EQ(json["listeners"][0]["stream_window"], "256KiB");
  EXPECT_EQ(json["listeners"][0]["routes"][0]["timeout"], "20m");
  EXPECT_EQ(json["clusters"][0]["queue"]["max_bytes"], "256MiB");
  EXPECT_EQ(json["clusters"][0]["replicas"]["static"][0], "127.0.0.1:9000");
  EXPECT_FALSE(json["clusters"][0].contains("health_check"));
}

TEST(ConfigDump, TellsWhereEachSettingComesFrom) {
  SettingSources sources{};
  sources[indexOf(Setting::kConcurrencyTarget)] = SettingSource::kFile;
  sources[indexOf(Setting::kTimeout)] = SettingSource::kOverrides;
  sources[indexOf(Setting::kMaxBytes)] = SettingSource::kPatch;
  const auto json = nlohmann::json::parse(dumpConfig(load(minimalText()), {&sources, 1}));
  EXPECT_EQ(json["sources"], nlohmann::json::parse(R"({"m": {
    "concurrency_target": "file", "queue.max_requests": "default",
    "queue.max_bytes": "patch", "queue.timeout": "overrides",
    "autoscaling.min_replicas": "default", "autoscaling.max_replicas": "default",
    "autoscaling.window": "default", "autoscaling.scale_down_delay": "default",
    "autoscaling.target_utilization": "default",
    "autoscaling.max_scale_down_rate": "default"}})"));
}

}  // namespace
}  // namespace penstock::proxy
