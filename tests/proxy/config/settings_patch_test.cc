#include "proxy/config/settings_patch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/config/dump.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string complaintOf(std::string_view json) {
  const auto patch = parseSettingsPatch(json);
  return patch ? "" : patch.error().message;
}

SettingSet setOf(std::initializer_list<Setting> settings) {
  SettingSet result;
  for (const Setting setting : settings) {
    result.set(indexOf(setting));
  }
  return result;
}

TEST(SettingsPatch, GivesWhatItHolds) {
  const auto patch =
      parseSettingsPatch(R"({"concurrency_target":4,"queue":{"max_bytes":"1MiB","timeout":"90s"},)"
                         R"("autoscaling":{"min_replicas":0}})");
  ASSERT_TRUE(patch) << patch.error().message;
  EXPECT_EQ(patch->set.given, setOf({Setting::kConcurrencyTarget, Setting::kMaxBytes,
                                     Setting::kTimeout, Setting::kMinReplicas}));
  EXPECT_EQ(patch->set.values.concurrency_target, 4U);
  EXPECT_EQ(patch->set.values.queue.max_bytes, 1_MiB);
  EXPECT_EQ(patch->set.values.queue.timeout, 90s);
  EXPECT_EQ(patch->set.values.autoscaling.min_replicas, 0U);
  EXPECT_TRUE(patch->reset.none());
}

TEST(SettingsPatch, TakesWhatTheSettingsAreShownAs) {
  const ClusterSettings defaults;
  const auto patch = parseSettingsPatch(dumpSettings(defaults));
  ASSERT_TRUE(patch) << patch.error().message;
  EXPECT_TRUE(patch->set.given.all());
  EXPECT_EQ(patch->set.values, defaults);
}

TEST(SettingsPatch, AnEmptyOneChangesNothing) {
  const auto patch = parseSettingsPatch("{}");
  ASSERT_TRUE(patch);
  EXPECT_TRUE(patch->set.given.none() && patch->reset.none());
}

TEST(SettingsPatch, NullResetsASettingOrAGroup) {
  const auto patch = parseSettingsPatch(
      R"({"concurrency_target": null, "queue": null, "autoscaling": {"window": null}})");
  ASSERT_TRUE(patch) << patch.error().message;
  EXPECT_EQ(patch->reset, setOf({Setting::kConcurrencyTarget, Setting::kMaxRequests,
                                 Setting::kMaxBytes, Setting::kTimeout, Setting::kWindow}));
  EXPECT_TRUE(patch->set.given.none());
}

TEST(SettingsPatch, WhitespaceOfEveryKindIsJson) {
  EXPECT_EQ(complaintOf("\t{\r\n\t\"queue\"\t:\n{\"max_requests\":1}\t}\n"), "");
}

TEST(SettingsPatch, RefusesNumbersThatNoDoubleHolds) {
  for (const char* json :
       {R"({"concurrency_target": 1e999})", R"({"queue": {"max_requests": -1e400}})", "1e999",
        R"({"unknown": [{"deep": 123456789E+9999}]})"}) {
    EXPECT_THAT(complaintOf(json), HasSubstr("fit into a double")) << json;
  }
}

TEST(SettingsPatch, TellsTheKeyAndWhatWasExpected) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"concurrency_target": 0})",
       "concurrency_target: expected a whole number from 1 to 1000000, got \"0\""},
      {R"({"concurrency_target": "4"})",
       "concurrency_target: expected a whole number from 1 to 1000000, got \"4\""},
      {R"({"concurrency_target": 2.0})",
       "concurrency_target: expected a whole number from 1 to 1000000, got \"2.0\""},
      {R"({"concurrency_target": true})",
       "concurrency_target: expected a whole number from 1 to 1000000, got \"true\""},
      {R"({"concurrency_target": 18446744073709551616})",
       "concurrency_target: expected a whole number from 1 to 1000000, got "
       "\"1.8446744073709552e+19\""},
      {R"({"queue": {"max_requests": -1}})",
       "queue.max_requests: expected a whole number from 0 to 1000000, got \"-1\""},
      {R"({"queue": {"max_bytes": 1048576}})",
       "queue.max_bytes: expected a size with its unit (B, KiB, MiB, GiB), such as 64KiB, got "
       "\"1048576\""},
      {R"({"queue": []})", "queue: expected a mapping, got a sequence"},
      {R"({"autoscaling": {"window": "5s"}})",
       "autoscaling.window: expected a duration from 10s to 1h with its unit (ns, us, ms, s, m, "
       "h), such as 30s, got \"5s\""},
      {R"({"autoscaling": {"target_utilization": 101}})",
       "autoscaling.target_utilization: expected a whole number from 1 to 100, got \"101\""},
      {R"({"autoscaling": {"max_scale_down_rate": 51}})",
       "autoscaling.max_scale_down_rate: expected a whole number from 1 to 50, got \"51\""},
      {R"({"autoscaling": {"min_replicas": 3, "max_replicas": 2}})",
       "autoscaling.max_replicas: expected at least min_replicas (3), got 2"},
      {R"({"queue": {"max_request": 1}})",
       "queue: unknown key \"max_request\"; did you mean \"max_requests\"?"},
      {R"({"name": null})",
       "unknown key \"name\"; expected one of autoscaling, concurrency_target, queue"},
      {R"({"queue": {"queue": null}})",
       "queue: unknown key \"queue\"; expected one of max_bytes, max_requests, timeout"},
      {R"({"concurrency_target": 1, "concurrency_target": 2})",
       "expected each key once, got \"concurrency_target\" again"},
      {R"({"queue": {"timeout": "1s", "timeout": "1s"}})",
       "expected each key once, got \"timeout\" again"},
      {"[]", "expected a JSON object"},
      {"4", "expected a JSON object"},
      {"", "expected JSON; it is broken at byte 1"},
      {"{\"concurrency_target\": 4", "expected JSON; it is broken at byte 25"},
      {"{concurrency_target: 4}", "expected JSON; it is broken at byte 2"},
      {"{} {}", "expected JSON; it is broken at byte 4"},
      {"{\"a\": \"\xff\"}", "expected JSON; it is broken at byte 8"},
  };
  for (const auto& [json, expected] : cases) {
    EXPECT_EQ(complaintOf(json), expected) << json;
  }
}

TEST(SettingsPatch, TellsEveryMistake) {
  EXPECT_EQ(complaintOf(R"({"queue": {"timeout": 1}, "concurrency_target": 0})"),
            "queue.timeout: expected a duration from 1ms to 24h with its unit (ns, us, ms, s, m, "
            "h), such as 30s, got \"1\"; concurrency_target: expected a whole number from 1 to "
            "1000000, got \"0\"");
}

TEST(SettingsPatch, ReadsNoDeeperThanSettingsGo) {
  const std::string deep(50'000, '[');
  EXPECT_EQ(complaintOf(deep), "expected JSON; it is broken at byte 50001");
  EXPECT_EQ(complaintOf(R"({"queue": )" + deep + std::string(50'000, ']') + "}"),
            "expected at most 8 levels of nesting");
  std::string objects;
  for (int i = 0; i < 1000; ++i) {
    objects += "{\"a\":";
  }
  EXPECT_EQ(complaintOf(objects + "1" + std::string(1000, '}')),
            "expected at most 8 levels of nesting");
}

TEST(SettingsPatch, StrangeKeysAreUnknownKeys) {
  EXPECT_THAT(complaintOf(R"({"\u0000\ud83d\ude00\n\"": 1})"), HasSubstr("unknown key"));
  EXPECT_NE(complaintOf("{\"" + std::string(5000, 'k') + "\": 1}"), "");
}

}  // namespace
}  // namespace penstock::proxy
