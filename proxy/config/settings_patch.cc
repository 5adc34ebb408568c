#include "proxy/config/settings_patch.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace penstock::proxy {
namespace {

// Keeps the order of the keys, so that mistakes are told in it.
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 8;

// Notes what nlohmann's reader would let pass: of a repeated key it keeps the last value, and it
// reads to any depth.
class Watcher {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second && !complaint_) {
        complaint_ = fmt::format("expected each key once, got {} again", Json(key).dump());
      }
    }
    if (depth > kMaxDepth && !complaint_) {
      complaint_ = fmt::format("expected at most {} levels of nesting", kMaxDepth);
    }
    return depth <= kMaxDepth || event == Json::parse_event_t::object_end;
  }
  const std::optional<std::string>& complaint() const { return complaint_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::optional<std::string> complaint_;
};

Result<Json> parseStrictly(std::string_view text) {
  Watcher watcher;
  try {
    Json json = Json::parse(text, [&](int depth, Json::parse_event_t event, const Json& parsed) {
      return watcher(depth, event, parsed);
    });
    if (watcher.complaint()) {
      return failure(*watcher.complaint());
    }
    if (!json.is_object()) {
      return failure("expected a JSON object");
    }
    return json;
  } catch (const Json::parse_error& error) {
    return failure(fmt::format("expected JSON; it is broken at byte {}", error.byte));
  } catch (const Json::exception&) {
    // The only other one while parsing is out_of_range.
    return failure("expected JSON with numbers that fit into a double");
  }
}

// Takes the nulls out that stand for a setting or a group of them. Others stay, and are mistakes.
void takeResets(Json& object, const std::string& group, SettingSet& reset) {
  std::vector<std::string> taken;
  for (const auto& [key, value] : object.items()) {
    const std::string path = group + key;
    if (value.is_object() && group.empty()) {
      takeResets(value, path + ".", reset);
    }
    for (const Setting setting : allSettings()) {
      const std::string_view name = nameOf(setting);
      if (value.is_null() && (name == path || (group.empty() && name.starts_with(path + ".")))) {
        reset.set(indexOf(setting));
        taken.push_back(key);
      }
    }
  }
  for (const std::string& key : taken) {
    object.erase(key);
  }
}

}  // namespace

Result<SettingsPatch> parseSettingsPatch(std::string_view json) {
  Result<Json> parsed = parseStrictly(json);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  SettingsPatch patch;
  takeResets(*parsed, "", patch.reset);
  // What is left is read by the loader of the file: JSON, written like this, is YAML.
  auto document = YamlDocument::parse(parsed->dump(1), "settings");
  if (!document) {
    return std::unexpected(document.error());
  }
  YamlMap map(document->root());
  readSettings(map, patch.set);
  map.finish();
  if (const auto mistakes = document->mistakes(); !mistakes.empty()) {
    return failure(fmt::format("{}", fmt::join(mistakes, "; ")));
  }
  return patch;
}

}  // namespace penstock::proxy
