#include "proxy/config/difference.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "proxy/config/dump.h"

namespace penstock::proxy {
namespace {

using Json = nlohmann::json;

// Lists of things with names, which are the same thing wherever they stand in the list.
bool isNamed(const Json& list) {
  return list.is_array() && !list.empty() && std::ranges::all_of(list, [](const Json& item) {
           return item.is_object() && item.contains("name");
         });
}

Json byName(const Json& list) {
  Json result = Json::object();
  for (const Json& item : list) {
    result[item["name"].get<std::string>()] = item;
  }
  return result;
}

Json comparable(const Config& config) {
  Json json = Json::parse(dumpConfig(config));
  for (Json& cluster : json["clusters"]) {
    for (const char* key : {"concurrency_target", "queue", "autoscaling"}) {
      cluster.erase(key);
    }
    if (cluster["replicas"].contains("static")) {
      cluster["replicas"]["static"] = "changeable";
    }
  }
  return json;
}

void compare(const Json& running, const Json& wanted, const std::string& path,
             std::vector<std::string>& keys) {
  if (running == wanted) {
    return;
  }
  const bool named = isNamed(running) && isNamed(wanted);
  if (!named && (!running.is_object() || !wanted.is_object())) {
    keys.push_back(path);
    return;
  }
  const Json before = named ? byName(running) : running;
  const Json after = named ? byName(wanted) : wanted;
  Json all = before;
  all.update(after);
  for (const auto& [key, value] : all.items()) {
    std::string below = named ? path + "[" + key + "]" : path.empty() ? key : path + "." + key;
    if (before.contains(key) && after.contains(key)) {
      compare(before[key], after[key], below, keys);
    } else {
      keys.push_back(std::move(below));
    }
  }
}

}  // namespace

std::vector<std::string> keysThatNeedRestart(const Config& running, const Config& wanted) {
  std::vector<std::string> keys;
  compare(comparable(running), comparable(wanted), "", keys);
  return keys;
}

}  // namespace penstock::proxy
