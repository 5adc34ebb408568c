#include "sidecar/upstream/forwarding.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

http::RequestHead head(const std::string& method, const std::string& path) {
  return {.method = method,
          .scheme = "http",
          .authority = "model",
          .path = path,
          .protocol = {},
          .headers = {},
          .content_length = {}};
}

http::RequestHead webSocket(const std::string& path) {
  http::RequestHead result = head("CONNECT", path);
  result.protocol = "websocket";
  return result;
}

UpstreamModel gatedBy(std::vector<UpstreamModel::GatePattern> gate) {
  UpstreamModel model;
  model.gate = std::move(gate);
  return model;
}

UpstreamModel mapped() {
  UpstreamModel model;
  model.predict_endpoint = "/generate";
  model.readiness_endpoint = "/ready";
  model.liveness_endpoint = "/alive";
  return model;
}

TEST(Forwarding, GatesEachRequestThatMayBeInferenceByDefault) {
  const UpstreamModel model;
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    EXPECT_TRUE(forwardingOf(head(method, "/v1/chat/completions"), model).gated) << method;
    EXPECT_TRUE(forwardingOf(head(method, "/"), model).gated) << method;
  }
  EXPECT_TRUE(forwardingOf(webSocket("/v1/realtime"), model).gated);
  for (const char* method : {"GET", "HEAD", "OPTIONS", "DELETE"}) {
    EXPECT_FALSE(forwardingOf(head(method, "/v1/models"), model).gated) << method;
  }
}

TEST(Forwarding, GatesOnlyThePathsThatAreListed) {
  const UpstreamModel model = gatedBy({{"", "/v1/*"}, {"", "/generate"}, {"", "/a/*/infer"}});
  const std::pair<const char*, bool> rows[] = {
      {"/v1/chat/completions", true},
      {"/v1/", true},
      {"/v1", false},
      {"/generate", true},
      {"/generate?stream=1", true},
      {"/generate_stream", false},
      {"/tokenize", false},
      {"/a/b/infer", true},
      {"/a/b/c/infer", true},
      {"/a/infer", false},
      {"/a/b/infer/x/infer", true},
      {"/a/b/infer/x", false},
      {"/tokenize?x=/v1/", false},
      {"/%76%31/chat", true},
      {"/v1%2fchat", true},
      {"/%7", false},
  };
  for (const auto& [path, gated] : rows) {
    EXPECT_EQ(forwardingOf(head("POST", path), model).gated, gated) << path;
    EXPECT_FALSE(forwardingOf(head("GET", path), model).gated) << path;
  }
  EXPECT_TRUE(forwardingOf(webSocket("/v1/realtime"), model).gated);
  EXPECT_FALSE(forwardingOf(webSocket("/ws"), model).gated);
}

TEST(Forwarding, APatternWithAMethodCountsThatMethodOnly) {
  const UpstreamModel model = gatedBy({{"GET", "/stream"}});
  EXPECT_TRUE(forwardingOf(head("GET", "/stream?prompt=x"), model).gated);
  EXPECT_FALSE(forwardingOf(head("POST", "/stream"), model).gated);
}

TEST(Forwarding, NothingIsGatedByAnEmptyListButWhatIsMappedToPredict) {
  UpstreamModel model = mapped();
  model.gate.clear();
  EXPECT_TRUE(forwardingOf(head("POST", "/predict"), model).gated);
  EXPECT_TRUE(forwardingOf(head("POST", "/v1/models/m:predict"), model).gated);
  EXPECT_FALSE(forwardingOf(head("POST", "/generate"), model).gated);
}

TEST(Forwarding, MapsTrussPathsToTheEndpoints) {
  const std::tuple<const char*, const char*, const char*> rows[] = {
      {"POST", "/predict", "/generate"},
      {"POST", "/v1/models/any:predict", "/generate"},
      {"POST", "/predict?a=b", "/generate?a=b"},
      {"GET", "/v1/models/any", "/ready"},
      {"GET", "/v1/models/any/loaded", "/ready"},
      {"GET", "/", "/alive"},
      {"GET", "/?x", "/alive?x"},
      {"POST", "/", "/"},
      {"GET", "/v1/models", "/v1/models"},
      {"GET", "/v1/models/", "/v1/models/"},
      {"GET", "/v1/models/a/b", "/v1/models/a/b"},
      {"POST", "/v1/models/a/b:predict", "/v1/models/a/b:predict"},
      {"DELETE", "/v1/models/a", "/v1/models/a"},
  };
  for (const auto& [method, path, expected] : rows) {
    EXPECT_EQ(forwardingOf(head(method, path), mapped()).path, expected) << method << " " << path;
    EXPECT_EQ(forwardingOf(head(method, path), UpstreamModel{}).path, path) << "nothing is mapped";
  }
}

TEST(Forwarding, StreamsTheBodiesOfWebSocketsAndGrpcOnly) {
  const UpstreamModel model;
  EXPECT_TRUE(forwardingOf(webSocket("/ws"), model).streamed);
  http::RequestHead grpc = head("POST", "/inference.Service/Infer");
  grpc.headers.add("content-type", "application/grpc+proto");
  EXPECT_TRUE(forwardingOf(grpc, model).streamed);
  EXPECT_TRUE(forwardingOf(grpc, model).gated);
  EXPECT_FALSE(forwardingOf(head("POST", "/predict"), model).streamed);
}

TEST(Forwarding, KnowsTheQuestionWhetherTheServerLives) {
  EXPECT_TRUE(asksForLiveness(head("GET", "/"), mapped()));
  EXPECT_FALSE(asksForLiveness(head("POST", "/"), mapped()));
  EXPECT_FALSE(asksForLiveness(head("GET", "/x"), mapped()));
  EXPECT_FALSE(asksForLiveness(head("GET", "/"), UpstreamModel{}));
}

// Servers decode a path, and many do not mind a slash at its end.
TEST(Forwarding, KnowsAPathHoweverItIsWritten) {
  for (const char* path : {"/v1/models/m%3Apredict", "/predict/", "/v1/models/m%3apredict/"}) {
    const Forwarding forwarding = forwardingOf(head("POST", path), mapped());
    EXPECT_EQ(forwarding.path, "/generate") << path;
    EXPECT_TRUE(forwarding.gated) << path;
  }
  EXPECT_EQ(forwardingOf(head("POST", "/predict/?a=b"), mapped()).path, "/generate?a=b");
  EXPECT_EQ(forwardingOf(head("GET", "/v1/models/a%20b/"), mapped()).path, "/ready");
  const UpstreamModel model = gatedBy({{"", "/generate"}, {"", "/v1/"}});
  for (const char* path : {"/generate", "/generate/", "/%67enerate/?x", "/v1/"}) {
    EXPECT_TRUE(forwardingOf(head("POST", path), model).gated) << path;
    EXPECT_EQ(forwardingOf(head("POST", path), model).path, path) << "as it was sent";
  }
  EXPECT_FALSE(forwardingOf(head("POST", "/generate/x"), model).gated);
}

}  // namespace
}  // namespace penstock::sidecar
