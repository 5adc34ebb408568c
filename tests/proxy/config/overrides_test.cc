#include "proxy/config/overrides.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/proxy/config/config_text.h"
#include "tests/support/temporary_folder.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::EndsWith;

class OverridesTest : public ::testing::Test {
 protected:
  OverridesTest() { config.admin.overrides_file = file; }

  std::string complaintAbout(std::string_view text) {
    std::ofstream(file) << text;
    const auto overrides = loadOverrides(config);
    return overrides ? "" : overrides.error().message.substr(file.size());
  }
  std::string content() const { return folder.content("overrides.json"); }

  TemporaryFolder folder;
  const std::string file = folder.path("overrides.json");
  Config config = load(minimalText("", "", "concurrency_target: 2"));
};

TEST_F(OverridesTest, WithoutAFileThereAreNone) {
  const auto overrides = loadOverrides(config);
  ASSERT_TRUE(overrides);
  ASSERT_EQ(overrides->clusters.size(), 1U);
  EXPECT_TRUE(overrides->clusters[0].given.none());
}

TEST_F(OverridesTest, WhatWasWrittenIsRead) {
  SettingsLayer layer;
  layer.values.concurrency_target = 5;
  layer.values.queue.timeout = 90s;
  layer.given.set(indexOf(Setting::kConcurrencyTarget)).set(indexOf(Setting::kTimeout));
  ASSERT_TRUE(writeOverrides(file, {{"m", layer}}));
  EXPECT_EQ(content(),
            "{\n  \"clusters\": {\n    \"m\": {\n      \"concurrency_target\": 5,\n"
            "      \"queue\": {\n        \"timeout\": \"90s\"\n      }\n    }\n  }\n}\n");
  const auto overrides = loadOverrides(config);
  ASSERT_TRUE(overrides) << overrides.error().message;
  EXPECT_EQ(overrides->clusters[0].given, layer.given);
  EXPECT_EQ(overrides->clusters[0].values.concurrency_target, 5U);
  EXPECT_EQ(overrides->clusters[0].values.queue.timeout, 90s);
}

TEST_F(OverridesTest, UnknownClustersAreNamed) {
  std::ofstream(file) << R"({"clusters": {"gone": {"whatever": 1}, "m": {}}})";
  const auto overrides = loadOverrides(config);
  ASSERT_TRUE(overrides) << overrides.error().message;
  EXPECT_THAT(overrides->unknown, ElementsAre("gone"));
}

TEST_F(OverridesTest, MistakesAreToldWithTheirPlace) {
  EXPECT_EQ(complaintAbout("clusters:\n  m: {concurrency_target: 0}\n"),
            ":2:27: clusters.m.concurrency_target: expected a whole number from 1 to 1000000, got "
            "\"0\"");
  EXPECT_EQ(complaintAbout("clusters: {m: {name: x}}\n"),
            ":1:16: clusters.m: unknown key \"name\"; expected one of autoscaling, "
            "concurrency_target, queue");
  EXPECT_EQ(complaintAbout(""), ":1:1: expected a mapping, got nothing");
  EXPECT_EQ(complaintAbout("{}"), ":1:1: expected the key \"clusters\", which is missing");
  EXPECT_THAT(complaintAbout("{\"clusters\": {"), EndsWith("not YAML: end of map flow not found"));
}

TEST_F(OverridesTest, WhatContradictsTheConfigurationIsAMistake) {
  config = load(
      "listeners: [{name: a, address: 127.0.0.1:80, routes: [{prefix: /, cluster: m}]}]\n"
      "clusters:\n"
      "  - name: m\n"
      "    replicas: {process: {command: [a, '{address}']}}\n"
      "    autoscaling: {min_replicas: 1, max_replicas: 2}\n");
  config.admin.overrides_file = file;
  EXPECT_EQ(complaintAbout("clusters: {m: {autoscaling: {min_replicas: 3}}}"),
            ":1:15: clusters.m: autoscaling.max_replicas: expected at least min_replicas (3), got "
            "2 (over the configuration file)");
}

TEST_F(OverridesTest, WhatCannotBeWrittenLeavesTheFileAsItWas) {
  ASSERT_TRUE(writeOverrides(file, {}));
  const std::string before = content();
  ::mkdir((file + ".tmp").c_str(), 0700);  // where the temporary file would be
  SettingsLayer layer;
  layer.given.set();
  EXPECT_FALSE(writeOverrides(file, {{"m", layer}}));
  EXPECT_EQ(content(), before);
  EXPECT_FALSE(writeOverrides(folder.path("nowhere/overrides.json"), {}));
}

TEST_F(OverridesTest, NoTemporaryFileStaysBehind) {
  ::mkdir(file.c_str(), 0700);  // cannot be replaced by a file
  EXPECT_FALSE(writeOverrides(file, {}));
  struct stat there{};
  EXPECT_NE(::stat((file + ".tmp").c_str(), &there), 0);
}

}  // namespace
}  // namespace penstock::proxy
