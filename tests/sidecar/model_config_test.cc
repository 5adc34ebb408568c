#include "sidecar/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::sidecar {
namespace {

using testing::HasSubstr;

class ModelConfigTest : public testing::Test {
 protected:
  Result<ModelConfig> load(std::string_view yaml) {
    directory_.write("config.yaml", yaml);
    return loadModelConfig(directory_.path());
  }
  std::string errorOf(std::string_view yaml) {
    const auto config = load(yaml);
    EXPECT_FALSE(config.has_value());
    return config.has_value() ? "" : config.error().message;
  }

  TemporaryFolder directory_;
};

TEST_F(ModelConfigTest, HasDefaultsForAllButTheLibrary) {
  const auto config = load("penstock: { library: libm.so }\n");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(std::get<NativeModel>(config->kind).library, "libm.so");
  EXPECT_EQ(config->predict_concurrency, 1u);
  EXPECT_EQ(config->preprocess_threads, 32u);
  EXPECT_EQ(config->max_request_body, 64_MiB);
  EXPECT_EQ(std::filesystem::path(config->directory),
            std::filesystem::canonical(directory_.path()));
  EXPECT_EQ(config->model_name, std::filesystem::path(config->directory).filename());
}

TEST_F(ModelConfigTest, ReadsEveryKey) {
  const auto config = load(R"(
model_name: m
runtime: { predict_concurrency: 3 }
penstock:
  library: lib/m.so
  preprocess_threads: 5
  postprocess_threads: 6
  max_waiting: 7
  gate_timeout: 8s
  max_request_body: 9MiB
  max_buffered: 10MiB
  options: { depth: 11, name: "a b", on: true }
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->model_name, "m");
  EXPECT_EQ(config->predict_concurrency, 3u);
  EXPECT_EQ(std::get<NativeModel>(config->kind).library, "lib/m.so");
  EXPECT_EQ(config->preprocess_threads, 5u);
  EXPECT_EQ(config->postprocess_threads, 6u);
  EXPECT_EQ(config->max_waiting, 7u);
  EXPECT_EQ(config->gate_timeout, std::chrono::seconds(8));
  EXPECT_EQ(config->max_request_body, 9_MiB);
  EXPECT_EQ(config->max_buffered, 10_MiB);
  EXPECT_THAT(std::get<NativeModel>(config->kind).options,
              testing::ElementsAre(testing::Pair("depth", "11"), testing::Pair("name", "a b"),
                                   testing::Pair("on", "true")));
}

TEST_F(ModelConfigTest, BoundsHowLongANativeModelMayHang) {
  const auto config = load("penstock: { library: libm.so, hang_timeout: 5s }\n");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(std::get<NativeModel>(config->kind).hang_timeout, std::chrono::seconds(5));
}

TEST_F(ModelConfigTest, RunsAheadOnOneLaneOnly) {
  const auto config = load("penstock: { library: libm.so, run_ahead: 1 }\n");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(std::get<NativeModel>(config->kind).run_ahead, 1u);
  EXPECT_THAT(
      errorOf("runtime: { predict_concurrency: 2 }\n"
              "penstock: { library: libm.so, run_ahead: 1 }\n"),
      HasSubstr(
          "config.yaml:2:31: penstock: run_ahead: 1 is for runtime: { predict_concurrency: 1 }"));
  EXPECT_THAT(errorOf("penstock: { library: libm.so, run_ahead: 2 }\n"), HasSubstr("0 to 1"));
  EXPECT_TRUE(
      load("runtime: { predict_concurrency: 2 }\n"
           "penstock: { library: libm.so, run_ahead: 0 }\n"));
}

TEST_F(ModelConfigTest, LeavesTrussItsOwnKeys) {
  const auto config = load(R"(
model_name:
python_version: py311
requirements: [numpy, torch]
resources: { cpu: "3", memory: 14Gi, use_gpu: true, accelerator: H100 }
runtime: { predict_concurrency: 2, streaming_read_timeout: 60, enable_tracing_data: false }
secrets: { hf_access_token: null }
penstock: { library: libm.so }
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->predict_concurrency, 2u);
}

TEST_F(ModelConfigTest, FollowsMergesAsPythonDoes) {
  const auto config = load(R"(
x: &usual { predict_concurrency: 3, streaming_read_timeout: 9 }
runtime: { <<: *usual }
penstock: { library: libm.so }
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->predict_concurrency, 3u);
}

TEST_F(ModelConfigTest, AMisplacedPredictConcurrencyIsAnErrorWithItsPlace) {
  EXPECT_THAT(errorOf("predict_concurrency: 4\npenstock: { library: libm.so }\n"),
              testing::AllOf(HasSubstr("config.yaml:1:1: "), HasSubstr("under runtime")));
  EXPECT_THAT(errorOf("penstock:\n  library: libm.so\n  predict_concurrency: 4\n"),
              testing::AllOf(HasSubstr("config.yaml:3:3: "), HasSubstr("under runtime")));
}

TEST_F(ModelConfigTest, SaysWhereAndWhatForEachMistake) {
  const std::pair<const char*, const char*> rows[] = {
      {"model_name: m\n", "config.yaml:"},
      {"penstock: {}\n", "library"},
      {"penstock: { library: m, threads: 3 }\n", "config.yaml:1:25: "},
      {"penstock: { library: m, preprocess_threads: 0 }\n", "config.yaml:1:45: "},
      {"penstock: { library: m, preprocess_threads: 4097 }\n", "4096"},
      {"penstock: { library: m, gate_timeout: 8 }\n", "config.yaml:1:39: "},
      {"penstock: { library: m, max_request_body: 2GiB }\n", "config.yaml:1:43: "},
      {"penstock: { library: m }\nruntime: { predict_concurrency: 0 }\n", "config.yaml:2:33: "},
      {"penstock: { library: m }\nruntime: { predict_concurrency: two }\n", "config.yaml:2:33: "},
      {"penstock: { library: m }\nruntime: { predict_concurrency: 1025 }\n", "1024"},
      {"penstock: { library: m, options: [a] }\n", "config.yaml:1:34: "},
      {"penstock: { library: m, options: { a: [b] } }\n", "config.yaml:1:39: "},
      {"penstock: { library: m }\npenstock: { library: n }\n", "config.yaml:2:1: "},
      {"penstock: [\n", "config.yaml:"},
  };
  for (const auto& [yaml, part] : rows) {
    EXPECT_THAT(errorOf(yaml), HasSubstr(part)) << yaml;
  }
}

TEST_F(ModelConfigTest, ReadsTrusssNumbersAsTrussDoes) {
  for (const char* two : {"2", "0x2", "02", "'2'", "2.0"}) {
    const auto config = load("runtime: { predict_concurrency: " + std::string(two) +
                             " }\npenstock: { library: libm.so }\n");
    ASSERT_TRUE(config.has_value()) << config.error().message;
    EXPECT_EQ(config->predict_concurrency, 2u) << two;
  }
  directory_.write("model/model.py", "class Model: pass");
  const auto config = load("runtime: { streaming_read_timeout: 1:30 }\n");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(std::get<PythonModel>(config->kind).streaming_read_timeout, std::chrono::seconds(90));
}

TEST_F(ModelConfigTest, SaysThatEnginesAreNotBuiltHere) {
  EXPECT_THAT(errorOf("trt_llm: { build: { base_model: llama } }\n"),
              testing::AllOf(HasSubstr("config.yaml:1:1: "), HasSubstr("not built here")));
  EXPECT_TRUE(load("trt_llm: { build: { base_model: llama } }\npenstock: { library: m }\n"));
}

TEST_F(ModelConfigTest, SaysThatAnImagesOwnStartIsNotKnown) {
  EXPECT_THAT(errorOf("docker_server: { no_build: true, server_port: 8000, predict_endpoint: /p,\n"
                      "  readiness_endpoint: /r, liveness_endpoint: /l }\n"),
              testing::AllOf(HasSubstr("start_command"), HasSubstr("upstream")));
}

TEST_F(ModelConfigTest, NeedsADirectoryWithAConfig) {
  EXPECT_FALSE(loadModelConfig(directory_.path()).has_value());
  EXPECT_FALSE(loadModelConfig(directory_.path() + "/nowhere").has_value());
}

TEST_F(ModelConfigTest, WithoutALibraryTheModelIsThePythonClass) {
  directory_.write("model/model.py", "class Model: pass");
  const auto config = load(R"(model_name: m
runtime: { predict_concurrency: 2, streaming_read_timeout: 7 }
environment_variables: { A: "1", B: yes }
secrets: { token: null }
penstock: { python: /opt/python, hang_timeout: 5s }
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const auto& python = std::get<PythonModel>(config->kind);
  EXPECT_EQ(config->predict_concurrency, 2u);
  EXPECT_EQ(python.interpreter, "/opt/python");
  EXPECT_EQ(python.hang_timeout, std::chrono::seconds(5));
  EXPECT_EQ(python.streaming_read_timeout, std::chrono::seconds(7));
  EXPECT_THAT(python.environment,
              testing::ElementsAre(testing::Pair("A", "1"), testing::Pair("B", "true")));
  EXPECT_THAT(python.config_json, HasSubstr(R"("secrets":{"token":null})"));
}

TEST_F(ModelConfigTest, AnEmptyFileHasAllDefaults) {
  EXPECT_THAT(errorOf("# nothing\n"), HasSubstr("expected a model"));
  directory_.write("model/model.py", "class Model: pass");
  for (const char* empty : {"", "# nothing\n", "null\n", "---\n"}) {
    const auto config = load(empty);
    ASSERT_TRUE(config.has_value()) << config.error().message;
    EXPECT_EQ(std::get<PythonModel>(config->kind).config_json, "{}");
  }
}

TEST_F(ModelConfigTest, NeedsASectionOfOursForPythonOnlyIfItIsWrong) {
  directory_.write("src/main.py", "class Model: pass");
  EXPECT_TRUE(load("model_module_dir: src\nmodel_class_filename: main.py\n").has_value());
  EXPECT_THAT(errorOf("model_module_dir: src\n"), HasSubstr("expected a model"));
  EXPECT_THAT(
      errorOf("model_module_dir: src\nmodel_class_filename: main.py\npenstock: { pyton: x }\n"),
      HasSubstr("config.yaml:3:13: "));
}

}  // namespace
}  // namespace penstock::sidecar
