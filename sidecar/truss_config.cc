#include "sidecar/truss_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "base/quantity.h"
#include "base/yaml_scalar.h"

namespace penstock::sidecar {
namespace {

enum class Shape {
  kReadElsewhere,
  kScalar,
  kText,  // of which this program makes paths and names: no number, no boolean
  kFlag,
  kWhole,
  kNumber,
  kList,
  kTexts,
  kMap,
  kTextOrNothing,  // a mapping to these
};

enum class Effect {
  kHere,   // it has one, or asks for none
  kImage,  // building the image has it
  kNone,
};

struct Key {
  std::string_view name;
  Shape shape;
  Effect effect = Effect::kHere;
  std::span<const Key> inside{};
};

constexpr Key kResources[] = {
    {"cpu", Shape::kScalar},   {"memory", Shape::kScalar},        {"accelerator", Shape::kScalar},
    {"use_gpu", Shape::kFlag}, {"instance_type", Shape::kScalar}, {"node_count", Shape::kWhole},
    {"fabric", Shape::kMap},
};

constexpr Key kBaseImage[] = {
    {"image", Shape::kScalar},
    {"python_executable_path", Shape::kScalar},
    {"docker_auth", Shape::kMap},
};

constexpr Key kBuild[] = {
    {"model_server", Shape::kScalar},
    {"arguments", Shape::kMap},
    {"secret_to_path_mapping", Shape::kMap},
    {"no_cache", Shape::kFlag},
};

constexpr Key kTransport[] = {
    {"kind", Shape::kScalar},
    {"ping_interval_seconds", Shape::kNumber},
    {"ping_timeout_seconds", Shape::kNumber},
};

constexpr Key kHealthChecks[] = {
    {"restart_check_delay_seconds", Shape::kWhole},
    {"restart_threshold_seconds", Shape::kWhole},
    {"stop_traffic_threshold_seconds", Shape::kWhole},
    {"startup_threshold_seconds", Shape::kWhole},
};

constexpr Key kSwitch[] = {{"enabled", Shape::kFlag}};

constexpr Key kEgress[] = {{"ip_allow_list", Shape::kTexts}, {"fqdn_allow_list", Shape::kTexts}};

constexpr Key kBackpressure[] = {{"policy", Shape::kScalar}};

constexpr Key kRuntime[] = {
    {"predict_concurrency", Shape::kReadElsewhere},
    {"streaming_read_timeout", Shape::kReadElsewhere},
    {"enable_tracing_data", Shape::kFlag, Effect::kNone},
    {"enable_debug_logs", Shape::kFlag, Effect::kNone},
    {"transport", Shape::kMap, Effect::kHere, kTransport},
    {"is_websocket_endpoint", Shape::kFlag},
    {"health_checks", Shape::kMap, Effect::kNone, kHealthChecks},
    {"oidc", Shape::kMap, Effect::kNone, kSwitch},
    {"remote_ssh", Shape::kMap, Effect::kNone, kSwitch},
    {"egress_restrictions", Shape::kMap, Effect::kNone, kEgress},
    {"truss_server_version_override", Shape::kScalar, Effect::kNone},
    {"request_backpressure", Shape::kMap, Effect::kNone, kBackpressure},
    {"num_workers", Shape::kReadElsewhere},
};

constexpr Key kDockerServer[] = {
    {"start_command", Shape::kReadElsewhere},     {"server_port", Shape::kReadElsewhere},
    {"predict_endpoint", Shape::kReadElsewhere},  {"readiness_endpoint", Shape::kReadElsewhere},
    {"liveness_endpoint", Shape::kReadElsewhere}, {"run_as_user_id", Shape::kReadElsewhere},
    {"no_build", Shape::kReadElsewhere},
};

// Truss 0.18, and what older ones had.
constexpr Key kTop[] = {
    {"model_name", Shape::kScalar},
    {"model_metadata", Shape::kMap},
    {"description", Shape::kScalar},
    {"examples_filename", Shape::kScalar},
    {"data_dir", Shape::kText},
    {"external_data", Shape::kList, Effect::kNone},
    {"external_package_dirs", Shape::kTexts},
    {"python_version", Shape::kScalar, Effect::kImage},
    {"base_image", Shape::kMap, Effect::kImage, kBaseImage},
    {"requirements_file", Shape::kScalar, Effect::kImage},
    {"requirements", Shape::kList, Effect::kImage},
    {"system_packages", Shape::kList, Effect::kImage},
    {"environment_variables", Shape::kReadElsewhere},
    {"secrets", Shape::kTextOrNothing},
    {"resources", Shape::kMap, Effect::kImage, kResources},
    {"runtime", Shape::kMap, Effect::kHere, kRuntime},
    {"build", Shape::kMap, Effect::kImage, kBuild},
    {"build_commands", Shape::kList, Effect::kNone},
    {"docker_server", Shape::kMap, Effect::kHere, kDockerServer},
    {"model_cache", Shape::kList, Effect::kNone},
    {"hf_cache", Shape::kList, Effect::kNone},
    {"cache_internal", Shape::kList, Effect::kNone},
    {"weights", Shape::kList, Effect::kNone},
    {"trt_llm", Shape::kMap, Effect::kNone},
    {"training_checkpoints", Shape::kMap, Effect::kNone},
    {"bis_llm", Shape::kMap, Effect::kNone},
    {"live_reload", Shape::kFlag, Effect::kNone},
    {"input_type", Shape::kScalar},
    {"model_framework", Shape::kScalar},
    {"model_type", Shape::kScalar},
    {"model_module_dir", Shape::kText},
    {"model_class_filename", Shape::kText},
    {"model_class_name", Shape::kText},
    {"bundled_packages_dir", Shape::kText},
    {"use_local_src", Shape::kFlag},
    {"apply_library_patches", Shape::kFlag},
    {"spec_version", Shape::kScalar},
    {"penstock", Shape::kReadElsewhere},
};

bool isText(const YamlValue& value) {
  return value.isScalar() && std::holds_alternative<std::string>(value.scalar().value);
}

// 3, 3.0, 0x3, "3".
std::optional<std::int64_t> wholeOf(const YamlValue& value) {
  if (!value.isScalar()) {
    return std::nullopt;
  }
  const YamlScalar scalar = value.scalar();
  if (const auto* integer = std::get_if<YamlScalar::Integer>(&scalar.value)) {
    return parseInteger(integer->decimal);
  }
  if (const auto* number = std::get_if<double>(&scalar.value)) {
    constexpr double kExact = 9007199254740992.0;
    const bool whole = std::abs(*number) <= kExact && std::trunc(*number) == *number;
    return whole ? std::optional(static_cast<std::int64_t>(*number)) : std::nullopt;
  }
  const auto* text = std::get_if<std::string>(&scalar.value);
  return text != nullptr ? parseInteger(*text) : std::nullopt;
}

// true, yes, 1, "true".
std::optional<bool> flagOf(const YamlValue& value) {
  if (!value.isScalar()) {
    return std::nullopt;
  }
  const YamlScalar scalar = value.scalar();
  if (const auto* flag = std::get_if<bool>(&scalar.value)) {
    return *flag;
  }
  std::string text = scalar.pythonText();
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::string_view kYes[] = {"true", "t", "yes", "y", "on", "1"};
  constexpr std::string_view kNo[] = {"false", "f", "no", "n", "off", "0"};
  if (std::ranges::find(kYes, text) != std::end(kYes)) {
    return true;
  }
  return std::ranges::find(kNo, text) != std::end(kNo) ? std::optional(false) : std::nullopt;
}

bool isNumber(const YamlValue& value) {
  return value.isScalar() &&
         (wholeOf(value).has_value() || std::holds_alternative<double>(value.scalar().value));
}

void checkTexts(const YamlValue& list) {
  for (const YamlValue& item : list.items()) {
    if (!isText(item)) {
      item.expected("text, which wants quotes if it reads as a number or as true or false");
    }
  }
}

void checkTextsOrNothing(const YamlValue& value) {
  YamlMap map(value);
  for (const std::string& name : map.unknownKeys()) {
    const auto item = map.find(name);
    if (!item->isNull() && !isText(*item)) {
      item->expected("text or null; text wants quotes if it reads as a number or as true or false");
    }
  }
}

void checkShape(const YamlValue& value, Shape shape) {
  switch (shape) {
    case Shape::kReadElsewhere:
      return;
    case Shape::kScalar:
      if (!value.isScalar()) {
        value.expected("a single value");
      }
      return;
    case Shape::kText:
      if (!isText(value)) {
        value.expected("text, which wants quotes if it reads as a number or as true or false");
      }
      return;
    case Shape::kFlag:
      if (!flagOf(value)) {
        value.expected("true or false");
      }
      return;
    case Shape::kWhole:
      if (!wholeOf(value)) {
        value.expected("a whole number");
      }
      return;
    case Shape::kNumber:
      if (!isNumber(value)) {
        value.expected("a number");
      }
      return;
    case Shape::kList:
      value.items();
      return;
    case Shape::kTexts:
      checkTexts(value);
      return;
    case Shape::kMap:
      if (!value.isMap()) {
        value.expected("a mapping");
      }
      return;
    case Shape::kTextOrNothing:
      checkTextsOrNothing(value);
      return;
  }
}

// Whether it asks for anything: not of "no", of an empty list, or of a mapping to such.
bool asksForSomething(const YamlValue& value) {
  if (value.isScalar()) {
    return flagOf(value).value_or(true) && !value.scalar().pythonText().empty();
  }
  if (value.isSequence()) {
    return !value.items().empty();
  }
  if (value.isMap()) {
    YamlMap map(value);
    return std::ranges::any_of(map.unknownKeys(), [&](const std::string& key) {
      return asksForSomething(*map.find(key));
    });
  }
  return false;
}

void append(std::string& list, std::string_view name) {
  list += list.empty() ? "" : ", ";
  list += name;
}

// Unknown keys of a section that Truss is strict about are mistakes.
enum class Unknown { kWarning, kMistake };

class Checker {
 public:
  void check(YamlMap& map, std::span<const Key> keys, const std::string& prefix, Unknown unknown) {
    for (const Key& key : keys) {
      const auto value = map.find(key.name);
      if (value && !value->isNull()) {
        checkKey(*value, key, prefix, unknown);
      }
    }
    for (const std::string& name : map.unknownKeys()) {
      noteUnknown(map, name, unknown);
    }
  }

  TrussRemarks take() {
    if (!without_effect_.empty()) {
      remarks_.warnings.push_back("Truss's keys that have no effect here: " + without_effect_);
    }
    return std::move(remarks_);
  }

 private:
  void checkKey(const YamlValue& value, const Key& key, const std::string& prefix,
                Unknown unknown) {
    checkShape(value, key.shape);
    if (key.effect != Effect::kHere && asksForSomething(value)) {
      append(key.effect == Effect::kNone ? without_effect_ : remarks_.left_to_image,
             prefix + std::string(key.name));
    }
    if (!key.inside.empty() && value.isMap()) {
      YamlMap inside(value);
      inside.ignoreNulls();
      check(inside, key.inside, prefix + std::string(key.name) + '.',
            key.name == "runtime" ? Unknown::kMistake : unknown);
    }
  }

  void noteUnknown(const YamlMap& map, const std::string& name, Unknown unknown) {
    if (unknown == Unknown::kMistake) {
      map.noteUnknown(name);
      return;
    }
    const auto place = map.keyPlace(name);
    std::string text = place->place() + ": " + map.unknownText(name) + ". It has no effect here";
    if (map.nearest(name) == "predict_concurrency") {
      text += "; predict_concurrency belongs under runtime";
    }
    remarks_.warnings.push_back(std::move(text));
  }

  TrussRemarks remarks_;
  std::string without_effect_;
};

bool assignWhole(const std::optional<YamlValue>& value, std::uint64_t& out,
                 Between<std::uint64_t> range) {
  if (!value) {
    return false;
  }
  const auto whole = wholeOf(*value);
  if (!whole || *whole < 0 || static_cast<std::uint64_t>(*whole) < range.min ||
      static_cast<std::uint64_t>(*whole) > range.max) {
    value->unsignedInteger(range);  // notes what was expected
    return false;
  }
  out = static_cast<std::uint64_t>(*whole);
  return true;
}

}  // namespace

TrussRemarks checkTrussKeys(YamlMap& top) {
  Checker checker;
  checker.check(top, kTop, "", Unknown::kWarning);
  if (const auto runtime = top.find("runtime"); runtime && runtime->isMap()) {
    YamlMap map(*runtime);
    map.ignoreNulls();
    if (const auto workers = map.find("num_workers"); workers && wholeOf(*workers) != 1) {
      workers->expected(
          "1: a Truss has one worker process; predict_concurrency is how many "
          "requests run at a time");
    }
  }
  return checker.take();
}

Environment readEnvironment(YamlMap& top) {
  Environment environment;
  const auto variables = top.find("environment_variables");
  if (!variables) {
    return environment;
  }
  YamlMap map(*variables);
  for (const std::string& name : map.unknownKeys()) {
    const auto value = map.find(name);
    if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos) {
      map.keyPlace(name)->expected("the name of a variable, not empty and without =");
    } else if (!value->isScalar() && !value->isNull()) {
      value->expected("a single value");
    } else if (std::string text = value->scalar().pythonText(); text.contains('\0')) {
      value->expected("text without a NUL");
    } else {
      environment.emplace_back(name, std::move(text));
    }
  }
  return environment;
}

bool readWhole(YamlMap& map, std::string_view key, std::uint64_t& out,
               Between<std::uint64_t> range) {
  return assignWhole(map.find(key), out, range);
}

bool needWhole(YamlMap& map, std::string_view key, std::uint64_t& out,
               Between<std::uint64_t> range) {
  return assignWhole(map.need(key), out, range);
}

}  // namespace penstock::sidecar
