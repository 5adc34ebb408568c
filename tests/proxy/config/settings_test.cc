#include "proxy/config/settings.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proxy/config/dump.h"
#include "tests/proxy/config/config_text.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

TEST(Settings, EachHasItsNameItsValueAndItsPlace) {
  const ClusterSettings defaults;
  const nlohmann::json dumped = nlohmann::json::parse(dumpSettings(defaults));
  std::set<std::string_view> names;
  for (const Setting setting : allSettings()) {
    names.insert(nameOf(setting));
    std::string pointer = "/" + std::string(nameOf(setting));
    std::ranges::replace(pointer, '.', '/');
    const nlohmann::json value = dumped.at(nlohmann::json::json_pointer(pointer));
    EXPECT_EQ(value.is_string() ? value.get<std::string>() : value.dump(),
              valueOf(setting, defaults));
  }
  EXPECT_EQ(names.size(), kSettings);
  EXPECT_EQ(dumped.flatten().size(), kSettings);
}

TEST(Settings, ALayerHidesWhatItGivesAndNothingElse) {
  ClusterSettings base;
  base.concurrency_target = 3;
  base.queue.timeout = 5s;
  SettingsLayer layer;
  layer.values.concurrency_target = 7;
  layer.values.queue.timeout = 9s;
  layer.given.set(indexOf(Setting::kTimeout));
  const ClusterSettings result = overlay(base, layer);
  EXPECT_EQ(result.concurrency_target, 3U);
  EXPECT_EQ(result.queue.timeout, 9s);
  EXPECT_EQ(difference(base, result), layer.given);
}

TEST(Settings, CopyingEachCopiesAll) {
  ClusterSettings from{.concurrency_target = 2,
                       .queue = {.max_requests = 3, .max_bytes = 4_B, .timeout = 5s},
                       .autoscaling = {.min_replicas = 6,
                                       .max_replicas = 7,
                                       .window = 11s,
                                       .scale_down_delay = 12s,
                                       .target_utilization = 13,
                                       .max_scale_down_rate = 14}};
  ClusterSettings to;
  EXPECT_TRUE(difference(from, to).all());
  for (const Setting setting : allSettings()) {
    copySetting(setting, from, to);
  }
  EXPECT_EQ(to, from);
}

TEST(Settings, TheLoaderKnowsWhichOfThemTheFileGives) {
  const Config config = load(minimalText("", "", "queue: {timeout: 600s}"));
  SettingSet expected;
  expected.set(indexOf(Setting::kTimeout));
  EXPECT_EQ(config.clusters[0].settings_given, expected);
}

TEST(Settings, AMinimumOfNoReplicasLoads) {
  const Config config = load(
      "listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: m}]}]\n"
      "clusters:\n"
      "  - name: m\n"
      "    replicas: {process: {command: [a, '{address}']}}\n"
      "    autoscaling: {min_replicas: 0, max_replicas: 3}\n");
  EXPECT_EQ(config.clusters[0].autoscaling.min_replicas, 0U);
}

}  // namespace
}  // namespace penstock::proxy
