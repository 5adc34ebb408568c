#include "sidecar/truss_config.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

struct Checked {
  TrussRemarks remarks;
  std::string mistakes;
};

Checked check(const std::string& yaml) {
  auto document = YamlDocument::parse(yaml, "config.yaml", {.merge_keys = true});
  EXPECT_TRUE(document.has_value()) << yaml;
  YamlMap top(document->root());
  top.ignoreNulls();
  top.find("predict_concurrency");
  Checked checked{.remarks = checkTrussKeys(top), .mistakes = {}};
  if (const auto ok = document->check(); !ok) {
    checked.mistakes = ok.error().message;
  }
  return checked;
}

// Puts a value at "runtime.oidc.enabled".
std::string at(const std::string& path, const std::string& value) {
  const std::size_t dot = path.find('.');
  return dot == std::string::npos
             ? "{ " + path + ": " + value + " }"
             : "{ " + path.substr(0, dot) + ": " + at(path.substr(dot + 1), value) + " }";
}

struct Row {
  const char* path;
  std::vector<const char*> right;
  std::vector<const char*> wrong;
};

const std::vector<const char*> kScalarNot = {"[a]", "{ a: b }"};
const std::vector<const char*> kTextNot = {"5", "yes", ".5", "2020-01-01", "[a]", "{ a: b }"};
const std::vector<const char*> kFlagNot = {"maybe", "2", "[true]", "{ a: true }"};
const std::vector<const char*> kWholeNot = {"many", "1.5", "yes", "[1]", "{ a: 1 }"};
const std::vector<const char*> kListNot = {"a", "5", "{ a: b }"};
const std::vector<const char*> kTextsNot = {"a", "5", "{ a: b }", "[5]", "[[a]]", "[null]"};
const std::vector<const char*> kMapNot = {"a", "5", "[a]"};

// Every key that Truss publishes, but those of `docker_server` and what is read elsewhere.
const Row kRows[] = {
    {"model_name", {"m", "5"}, kScalarNot},
    {"model_metadata", {"{ a: .5, b: [1] }"}, kMapNot},
    {"description", {"a b"}, kScalarNot},
    {"examples_filename", {"examples.yaml"}, kScalarNot},
    {"data_dir", {"data", "'5'"}, kTextNot},
    {"external_data", {"[{ url: u, local_data_path: p }]", "[]"}, kListNot},
    {"external_package_dirs", {"[../shared]", "['5']", "[]"}, kTextsNot},
    {"python_version", {"py311", "3.11"}, kScalarNot},
    {"base_image", {"{ image: i }", "{}"}, kMapNot},
    {"base_image.image", {"i"}, kScalarNot},
    {"base_image.python_executable_path", {"/usr/bin/python"}, kScalarNot},
    {"base_image.docker_auth", {"{ auth_method: AWS_IAM }"}, kMapNot},
    {"requirements_file", {"./requirements.txt"}, kScalarNot},
    {"requirements", {"[numpy]", "[]"}, kListNot},
    {"system_packages", {"[ffmpeg]"}, kListNot},
    {"secrets", {"{ token: null }", "{ token: t }", "{}"}, {"a", "[a]", "{ a: 5 }", "{ a: [b] }"}},
    {"resources", {"{ cpu: '3' }", "{}"}, kMapNot},
    {"resources.cpu", {"500m", "3"}, kScalarNot},
    {"resources.memory", {"14Gi"}, kScalarNot},
    {"resources.accelerator", {"H100:8", "null"}, kScalarNot},
    {"resources.use_gpu", {"true", "yes", "'true'", "1"}, kFlagNot},
    {"resources.instance_type", {"L4:4x16"}, kScalarNot},
    {"resources.node_count", {"2"}, kWholeNot},
    {"resources.fabric", {"{ use_rdma: true }"}, kMapNot},
    {"runtime", {"{}"}, kMapNot},
    {"runtime.enable_tracing_data", {"true"}, kFlagNot},
    {"runtime.enable_debug_logs", {"no"}, kFlagNot},
    {"runtime.transport", {"{ kind: websocket }", "{}"}, kMapNot},
    {"runtime.transport.kind", {"http"}, kScalarNot},
    {"runtime.transport.ping_interval_seconds", {"0.5", "20", "'20'"}, {"x", "yes", "[1]"}},
    {"runtime.transport.ping_timeout_seconds", {"0.5"}, {"x", "yes", "[1]"}},
    {"runtime.is_websocket_endpoint", {"true"}, kFlagNot},
    {"runtime.health_checks", {"{}"}, kMapNot},
    {"runtime.health_checks.restart_check_delay_seconds", {"1_200"}, kWholeNot},
    {"runtime.health_checks.restart_threshold_seconds", {"1200"}, kWholeNot},
    {"runtime.health_checks.stop_traffic_threshold_seconds", {"50"}, kWholeNot},
    {"runtime.health_checks.startup_threshold_seconds", {"50"}, kWholeNot},
    {"runtime.oidc", {"{}"}, kMapNot},
    {"runtime.oidc.enabled", {"true"}, kFlagNot},
    {"runtime.remote_ssh", {"{}"}, kMapNot},
    {"runtime.remote_ssh.enabled", {"false"}, kFlagNot},
    {"runtime.egress_restrictions", {"{}"}, kMapNot},
    {"runtime.egress_restrictions.ip_allow_list", {"[1.1.1.1]", "[]"}, kTextsNot},
    {"runtime.egress_restrictions.fqdn_allow_list", {"['*.test']"}, kTextsNot},
    {"runtime.truss_server_version_override", {"0.9.0"}, kScalarNot},
    {"runtime.request_backpressure", {"{}"}, kMapNot},
    {"runtime.request_backpressure.policy", {"reject_on_full"}, kScalarNot},
    {"runtime.num_workers", {"1"}, {"2", "x", "[1]"}},
    {"build", {"{}"}, kMapNot},
    {"build.model_server", {"TrussServer"}, kScalarNot},
    {"build.arguments", {"{ a: 1 }"}, kMapNot},
    {"build.secret_to_path_mapping", {"{ token: /run/secrets/token }"}, kMapNot},
    {"build.no_cache", {"true"}, kFlagNot},
    {"build_commands", {"[make]"}, kListNot},
    {"docker_server", {"{}"}, kMapNot},
    {"model_cache", {"[{ repo_id: r, use_volume: true }]"}, kListNot},
    {"hf_cache", {"[{ repo_id: r }]"}, kListNot},
    {"cache_internal", {"[]"}, kListNot},
    {"weights", {"[{ source: 'hf://a/b', mount_location: /m }]"}, kListNot},
    {"trt_llm", {"{ build: {} }"}, kMapNot},
    {"training_checkpoints", {"{ download_folder: /c }"}, kMapNot},
    {"bis_llm", {"{ version: '1' }"}, kMapNot},
    {"live_reload", {"true"}, kFlagNot},
    {"input_type", {"Any"}, kScalarNot},
    {"model_framework", {"custom"}, kScalarNot},
    {"model_type", {"Model"}, kScalarNot},
    {"model_module_dir", {"src"}, kTextNot},
    {"model_class_filename", {"main.py"}, kTextNot},
    {"model_class_name", {"Mine"}, kTextNot},
    {"bundled_packages_dir", {"packages"}, kTextNot},
    {"use_local_src", {"false"}, kFlagNot},
    {"apply_library_patches", {"true"}, kFlagNot},
    {"spec_version", {"'2.0'", "2.0"}, kScalarNot},
};

std::string withTypo(std::string path) {
  path.erase(path.size() - 2, 1);
  return path;
}

TEST(TrussConfig, TakesEveryKeyOfTrusssAndNothingInItsPlace) {
  for (const Row& row : kRows) {
    for (const char* value : row.right) {
      const Checked checked = check(at(row.path, value));
      EXPECT_EQ(checked.mistakes, "") << row.path << ": " << value;
      EXPECT_THAT(checked.remarks.warnings, testing::Each(testing::Not(HasSubstr("unknown"))));
    }
    const Checked nothing = check(at(row.path, "null"));
    EXPECT_EQ(nothing.mistakes, "") << row.path;
    EXPECT_THAT(nothing.remarks.warnings, IsEmpty()) << row.path;
    EXPECT_EQ(nothing.remarks.left_to_image, "") << row.path;
  }
}

TEST(TrussConfig, RefusesAValueOfTheWrongShapeWithItsPlace) {
  for (const Row& row : kRows) {
    for (const char* value : row.wrong) {
      const std::string mistakes = check(at(row.path, value)).mistakes;
      EXPECT_THAT(mistakes, HasSubstr("config.yaml:1:")) << row.path << ": " << value;
      EXPECT_THAT(mistakes, HasSubstr("expected")) << row.path << ": " << value;
      EXPECT_THAT(mistakes, HasSubstr(row.path)) << row.path << ": " << value;
    }
  }
}

TEST(TrussConfig, NamesATypoAndTheKeyThatIsMeant) {
  for (const Row& row : kRows) {
    const std::string path = row.path;
    const std::string key = path.substr(path.rfind('.') + 1);
    const Checked checked = check(at(withTypo(path), "null"));
    const std::string meant = "did you mean \"" + key + "\"?";
    if (path.starts_with("runtime.")) {
      EXPECT_THAT(checked.mistakes, HasSubstr(meant)) << path;
    } else {
      EXPECT_EQ(checked.mistakes, "") << path;
      EXPECT_THAT(checked.remarks.warnings, ElementsAre(HasSubstr(meant))) << path;
    }
  }
}

TEST(TrussConfig, KnowsWhereAMisspeltPredictConcurrencyBelongs) {
  EXPECT_THAT(check("a: 1\npredict_concurency: 4\n").remarks.warnings,
              testing::Contains(testing::AllOf(
                  HasSubstr("config.yaml:2:1: unknown key \"predict_concurency\""),
                  HasSubstr("did you mean \"predict_concurrency\"?"), HasSubstr("under runtime"))));
  EXPECT_THAT(check("runtime: { predict_concurency: 4 }\n").mistakes,
              HasSubstr("did you mean \"predict_concurrency\"?"));
  EXPECT_THAT(check("runtime: { oidc: { whatever: 4 } }\n").mistakes,
              HasSubstr("expected one of enabled"));
}

TEST(TrussConfig, NamesOnceWhatHasNoEffectHere) {
  const Checked checked = check(R"(
requirements: [numpy]
resources: { accelerator: H100, use_gpu: true }
trt_llm: { build: {} , inference_stack: v2 }
weights: [{ source: "hf://a/b", mount_location: /m }]
model_cache: []
build_commands: [make]
live_reload: false
runtime: { predict_concurrency: 2, oidc: { enabled: false }, health_checks: { restart_threshold_seconds: 9 } }
)");
  EXPECT_EQ(checked.mistakes, "");
  EXPECT_THAT(checked.remarks.warnings,
              ElementsAre("Truss's keys that have no effect here: runtime.health_checks, "
                          "build_commands, weights, trt_llm"));
  EXPECT_EQ(checked.remarks.left_to_image, "requirements, resources");
}

Environment environmentOf(const std::string& yaml, std::string* mistakes = nullptr) {
  auto document = YamlDocument::parse(yaml, "config.yaml");
  YamlMap top(document->root());
  top.ignoreNulls();
  Environment environment = readEnvironment(top);
  const auto ok = document->check();
  if (mistakes != nullptr) {
    *mistakes = ok ? "" : ok.error().message;
  } else {
    EXPECT_TRUE(ok.has_value()) << yaml;
  }
  return environment;
}

TEST(TrussConfig, GivesVariablesTrusssText) {
  EXPECT_THAT(environmentOf("environment_variables: { A: null, B: yes, C: 0x10, D: 1.50, E: '',\n"
                            "  F: 'a b', G: \"no\" }\n"),
              ElementsAre(Pair("A", "None"), Pair("B", "true"), Pair("C", "16"), Pair("D", "1.5"),
                          Pair("E", ""), Pair("F", "a b"), Pair("G", "no")));
  EXPECT_THAT(environmentOf("environment_variables: null\n"), IsEmpty());
}

TEST(TrussConfig, RefusesWhatIsNoVariable) {
  for (const char* wrong : {"[A]", "{ A: [b] }", "{ A: { b: c } }", "{ A=B: c }", "{ '': c }",
                            R"({ A: "b\0c" })", R"({ "A\0B": c })"}) {
    std::string mistakes;
    environmentOf("environment_variables: " + std::string(wrong) + "\n", &mistakes);
    EXPECT_THAT(mistakes, HasSubstr("config.yaml:1:")) << wrong;
    EXPECT_THAT(mistakes, HasSubstr("expected")) << wrong;
  }
}

}  // namespace
}  // namespace penstock::sidecar
