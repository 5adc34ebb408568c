#include "sidecar/upstream/upstream_config.h"

#include <string_view>
#include <utility>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::sidecar {
namespace {

using testing::HasSubstr;

constexpr char kDocker[] =
    "docker_server: { start_command: serve, server_port: 8000, predict_endpoint: /p, "
    "readiness_endpoint: /r, liveness_endpoint: /l }\n";

class UpstreamConfigTest : public testing::Test {
 protected:
  Result<ModelConfig> load(std::string_view yaml) {
    directory_.write("config.yaml", yaml);
    return loadModelConfig(directory_.path());
  }
  std::string errorOf(std::string_view yaml) {
    const auto config = load(yaml);
    EXPECT_FALSE(config.has_value()) << yaml;
    return config.has_value() ? "" : config.error().message;
  }

  TemporaryFolder directory_;
};

TEST_F(UpstreamConfigTest, AttachesToAServer) {
  const auto config = load("penstock: { upstream: 127.0.0.1:8000 }\n");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const auto& model = std::get<UpstreamModel>(config->kind);
  EXPECT_EQ(model.address.toString(), "127.0.0.1:8000");
  EXPECT_FALSE(model.process.has_value());
  EXPECT_FALSE(model.start_timeout.has_value());
  EXPECT_EQ(model.protocol, http::UpstreamProtocol::kHttp1);
  EXPECT_EQ(model.on_client_gone, UpstreamModel::OnClientGone::kReset);
  EXPECT_EQ(model.predict_endpoint, "");
}

TEST_F(UpstreamConfigTest, ReadsEveryKeyOfAnAttachedServer) {
  const auto config = load(R"(
runtime: { predict_concurrency: 4 }
penstock:
  upstream: "[::1]:9000"
  predict_endpoint: /generate
  readiness_endpoint: /health
  liveness_endpoint: /alive
  gate: [ /v1/*, GET /stream ]
  protocol: h2
  on_client_gone: wait
  hang_timeout: 6s
  reconnect_timeout: 6s
  start_timeout: 5s
  max_waiting: 7
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->predict_concurrency, 4u);
  EXPECT_EQ(config->max_waiting, 7u);
  const auto& model = std::get<UpstreamModel>(config->kind);
  EXPECT_EQ(model.address.toString(), "[::1]:9000");
  EXPECT_EQ(model.predict_endpoint, "/generate");
  EXPECT_EQ(model.readiness_endpoint, "/health");
  EXPECT_EQ(model.liveness_endpoint, "/alive");
  ASSERT_EQ(model.gate.size(), 2u);
  EXPECT_EQ(model.gate[0].method, "");
  EXPECT_EQ(model.gate[0].path, "/v1/*");
  EXPECT_EQ(model.gate[1].method, "GET");
  EXPECT_EQ(model.gate[1].path, "/stream");
  EXPECT_EQ(model.protocol, http::UpstreamProtocol::kHttp2);
  EXPECT_EQ(model.on_client_gone, UpstreamModel::OnClientGone::kWait);
  EXPECT_EQ(model.start_timeout, std::chrono::seconds(5));
  EXPECT_EQ(model.reconnect_timeout, std::chrono::seconds(6));
  EXPECT_EQ(model.hang_timeout, std::chrono::seconds(6));
}

TEST_F(UpstreamConfigTest, ReadsADockerServerAndLeavesTrussItsOwnKeys) {
  const auto config = load(R"(
base_image: { image: "vllm/vllm-openai:v0.8" }
environment_variables: { HF_HOME: /cache, WORKERS: 2 }
docker_server:
  start_command: vllm serve model
  server_port: 8000
  predict_endpoint: /v1/chat/completions
  readiness_endpoint: /health
  liveness_endpoint: /health
  run_as_user_id: 1000
  no_build: true
penstock: { stop_timeout: 3s, gate: [] }
)");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const auto& model = std::get<UpstreamModel>(config->kind);
  EXPECT_EQ(model.address.toString(), "127.0.0.1:8000");
  EXPECT_EQ(model.predict_endpoint, "/v1/chat/completions");
  EXPECT_TRUE(model.gate.empty());
  ASSERT_TRUE(model.process.has_value());
  EXPECT_EQ(model.process->start_command, "vllm serve model");
  EXPECT_EQ(model.process->user_id, 1000u);
  EXPECT_EQ(model.process->stop_timeout, std::chrono::seconds(3));
  EXPECT_THAT(model.process->environment, testing::ElementsAre(testing::Pair("HF_HOME", "/cache"),
                                                               testing::Pair("WORKERS", "2")));
  EXPECT_TRUE(model.start_timeout.has_value());
}

TEST_F(UpstreamConfigTest, ADockerServerNeedsNoSectionOfOurs) {
  const auto config = load(kDocker);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_TRUE(std::get<UpstreamModel>(config->kind).process.has_value());
}

TEST_F(UpstreamConfigTest, SaysWhereAndWhatForEachMistake) {
  const std::pair<std::string, const char*> rows[] = {
      {"penstock: { upstream: model.example:80 }\n", "config.yaml:1:23: "},
      {"penstock: { upstream: \"127.0.0.1:1\", library: m }\n",
       "config.yaml:1:38: penstock: expected one model"},
      {"penstock: { max_waiting: 1 }\n", "config.yaml:1:11: penstock: expected a model"},
      {std::string(kDocker) + "penstock: { library: m }\n",
       "config.yaml:2:13: penstock: expected one model"},
      {std::string(kDocker) + "penstock: { upstream: \"127.0.0.1:1\" }\n",
       "config.yaml:2:13: penstock: expected one model"},
      {std::string(kDocker) + "penstock: { predict_endpoint: /x }\n",
       "config.yaml:2:13: penstock: unknown"},
      {"docker_server: { server_port: 80 }\n", "start_command"},
      {"docker_server: { server_port: 80, start_command: x }\n", "predict_endpoint"},
      {"docker_server: { server_port: 70000 }\n", "config.yaml:1:31: "},
      {"penstock: { upstream: \"127.0.0.1:1\", gate: [ v1 ] }\n",
       "config.yaml:1:46: penstock.gate[]: expected a path"},
      {"penstock: { upstream: \"127.0.0.1:1\", gate: [ get /x ] }\n", "config.yaml:1:46: "},
      {"penstock: { upstream: \"127.0.0.1:1\", gate: /v1 }\n", "config.yaml:1:44: "},
      {"penstock: { upstream: \"127.0.0.1:1\", protocol: http3 }\n", "config.yaml:1:48: "},
      {"penstock: { upstream: \"127.0.0.1:1\", on_client_gone: stop }\n", "config.yaml:1:54: "},
      {"penstock: { upstream: \"127.0.0.1:1\", predict_endpoint: x }\n", "config.yaml:1:56: "},
      {"penstock: { upstream: \"127.0.0.1:1\", stop_timeout: 1s }\n",
       "config.yaml:1:38: penstock: unknown"},
      {"penstock: { upstream: \"127.0.0.1:1\", preprocess_threads: 2 }\n", "unknown key"},
      {std::string(kDocker) + "environment_variables: { A: [1] }\n", "config.yaml:2:29: "},
  };
  for (const auto& [yaml, part] : rows) {
    EXPECT_THAT(errorOf(yaml), HasSubstr(part)) << yaml;
  }
}

}  // namespace
}  // namespace penstock::sidecar
