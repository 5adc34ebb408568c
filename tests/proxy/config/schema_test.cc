#include <fstream>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proxy/config/dump.h"
#include "tests/proxy/config/config_text.h"

// configs/: each example loads, and the schema says what the loader does: the same keys, the same
// defaults, the same bounds.
namespace penstock::proxy {
namespace {

using nlohmann::json;

const std::string kConfigs = PENSTOCK_CONFIGS;

json schema() {
  std::ifstream file(kConfigs + "/penstock-proxy.schema.json");
  return json::parse(file);
}

// Calls visit(path, schema of the value) for each key, as "listeners[].routes[].prefix".
template <typename Visit>
void walk(const json& node, const std::string& path, Visit visit) {
  if (node.contains("items")) {
    walk(node["items"], path + "[]", visit);
  }
  if (!node.contains("properties")) {
    return;
  }
  for (const auto& [key, value] : node["properties"].items()) {
    const std::string below = path.empty() ? key : path + "." + key;
    visit(below, value);
    walk(value, below, visit);
  }
}

class Example : public testing::TestWithParam<const char*> {};

TEST_P(Example, Loads) {
  const auto config = loadConfig(kConfigs + "/" + GetParam());
  EXPECT_TRUE(config) << config.error().message;
}

INSTANTIATE_TEST_SUITE_P(Configs, Example,
                         testing::Values("quickstart.yaml", "full.yaml", "static.yaml", "tls.yaml",
                                         "dns.yaml"),
                         [](const auto& test) {
                           const std::string file = test.param;
                           return file.substr(0, file.find('.'));
                         });

std::set<std::string> keysOfTheLoader() {
  std::set<std::string> keys;
  for (const char* example : {"full.yaml", "static.yaml", "dns.yaml"}) {
    auto document = YamlDocument::load(kConfigs + "/" + example);
    EXPECT_TRUE(document && readConfig(*document));
    keys.insert(document->askedPaths().begin(), document->askedPaths().end());
  }
  return keys;
}

TEST(Schema, KnowsTheKeysOfTheLoader) {
  std::set<std::string> keys;
  walk(schema(), "", [&](const std::string& path, const json&) { keys.insert(path); });
  EXPECT_EQ(keys, keysOfTheLoader());
}

TEST(Schema, AllowsNoOtherKeys) {
  EXPECT_EQ(schema()["additionalProperties"], false);
  walk(schema(), "", [&](const std::string& path, const json& value) {
    const json& object = value.contains("items") ? value["items"] : value;
    if (object.contains("properties")) {
      EXPECT_EQ(object["additionalProperties"], false) << path;
    }
  });
}

TEST(Schema, DescribesEveryKey) {
  walk(schema(), "", [&](const std::string& path, const json& value) {
    EXPECT_TRUE(value.contains("description")) << path;
  });
}

// full.yaml is the reference for readers: it has every key but those of two kinds of replicas and
// of one kind of health check.
TEST(FullExample, HasEveryKey) {
  const Config config = loadConfig(kConfigs + "/full.yaml").value();
  std::set<std::string> keys;
  const auto collect = [&](const auto& self, const json& value, const std::string& path) -> void {
    if (value.is_array()) {
      for (const json& item : value) {
        self(self, item, path + "[]");
      }
    } else if (value.is_object()) {
      for (const auto& [key, below] : value.items()) {
        keys.insert(path.empty() ? key : path + "." + key);
        self(self, below, path.empty() ? key : path + "." + key);
      }
    }
  };
  // Optional values are only dumped when they were given.
  collect(collect, json::parse(dumpConfig(config)), "");
  keys.insert("clusters[].replicas.static");
  keys.insert("clusters[].health_check.grpc");
  std::set<std::string> wanted = keysOfTheLoader();
  std::erase_if(wanted, [](const auto& key) { return key.starts_with("clusters[].replicas.dns"); });
  EXPECT_EQ(keys, wanted);
}

// Follows a path through what was dumped, taking the first element of each sequence.
json* find(json& root, const std::string& path) {
  std::string pointer;
  for (const char c : path) {
    if (c == '.') {
      pointer += '/';
    } else if (c == '[') {
      pointer += "/0";
    } else if (c != ']') {
      pointer += c;
    }
  }
  const json::json_pointer at("/" + pointer);
  return root.contains(at) ? &root[at] : nullptr;
}

// Everything that has a default is dumped from a configuration that says nothing about it.
json leastConfig() {
  return json::parse(dumpConfig(load(R"(
listeners: [{name: i, address: "127.0.0.1:0", routes: [{prefix: /, cluster: m}]}]
clusters:
  - name: m
    replicas: {process: {command: [run, "{address}"]}}
    health_check: {}
)")));
}

// The least configuration has another kind of replicas.
bool isOfDns(const std::string& path) {
  return path.starts_with("clusters[].replicas.dns");
}

TEST(Schema, SaysTheDefaultsOfTheLoader) {
  json least = leastConfig();
  int defaults = 0;
  walk(schema(), "", [&](const std::string& path, const json& value) {
    if (value.contains("default") && !isOfDns(path)) {
      const json* effective = find(least, path);
      ASSERT_NE(effective, nullptr) << path;
      EXPECT_EQ(value["default"], *effective) << path;
      ++defaults;
    }
  });
  EXPECT_GT(defaults, 50);
}

TEST(Schema, SaysTheBoundsOfTheLoader) {
  const json least = leastConfig();
  const auto loads = [&](const std::string& path, std::int64_t value) {
    json changed = least;
    *find(changed, path) = value;
    if (path.ends_with("min_replicas")) {
      changed["clusters"][0]["autoscaling"].erase("max_replicas");
    }
    return parseConfig(changed.dump(), "p.yaml").has_value();
  };
  int bounds = 0;
  walk(schema(), "", [&](const std::string& path, const json& value) {
    if (isOfDns(path)) {
      return;
    }
    if (value.contains("minimum")) {
      const auto minimum = value["minimum"].get<std::int64_t>();
      EXPECT_TRUE(loads(path, minimum)) << path;
      EXPECT_FALSE(loads(path, minimum - 1)) << path;
      ++bounds;
    }
    if (value.contains("maximum")) {
      const auto maximum = value["maximum"].get<std::int64_t>();
      EXPECT_TRUE(loads(path, maximum)) << path;
      EXPECT_FALSE(loads(path, maximum + 1)) << path;
      ++bounds;
    }
  });
  EXPECT_GT(bounds, 30);
}

TEST(Schema, RequiresWhatTheLoaderRequires) {
  const json least = leastConfig();
  int required = 0;
  const auto check = [&](const std::string& path, const json& object) {
    for (const json& key : object.value("required", json::array())) {
      json changed = least;
      json* const parent = path.empty() ? &changed : find(changed, path);
      if (parent != nullptr) {
        parent->erase(key.get<std::string>());
        EXPECT_FALSE(parseConfig(changed.dump(), "p.yaml")) << path << "." << key;
        ++required;
      }
    }
  };
  check("", schema());
  walk(schema(), "", [&](const std::string& path, const json& value) {
    value.contains("items") ? check(path + "[]", value["items"]) : check(path, value);
  });
  EXPECT_GE(required, 9);
}

}  // namespace
}  // namespace penstock::proxy
