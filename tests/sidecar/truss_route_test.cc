#include "sidecar/truss_route.h"

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using Kind = TrussRoute::Kind;
using runtime::Operation;

TrussRoute route(const char* method, const char* path, const char* protocol = "") {
  return trussRouteOf({.method = method,
                       .scheme = "http",
                       .authority = "m",
                       .path = path,
                       .protocol = protocol,
                       .headers = {},
                       .content_length = {}});
}

TEST(TrussRoute, KnowsTheModelsOperations) {
  const std::pair<const char*, Operation> rows[] = {
      {"/predict", Operation::kPredict},
      {"/v1/models/model:predict", Operation::kPredict},
      {"/v1/models/model:predict_binary", Operation::kPredict},
      {"/invocations", Operation::kPredict},
      {"/v1/chat/completions?x", Operation::kChatCompletions},
      {"/v1/completions", Operation::kCompletions},
      {"/v1/embeddings", Operation::kEmbeddings},
      {"/v1/messages", Operation::kMessages},
      {"/v1/responses", Operation::kResponses},
      {"/v1/models/model%3Apredict", Operation::kPredict},
      {"/v1/models/model:predict_binary/?x", Operation::kPredict},
      {"/v1/chat%2Fcompletions", Operation::kChatCompletions},
      {"/v1/embeddings/", Operation::kEmbeddings}};
  for (const auto& [path, operation] : rows) {
    const TrussRoute posted = route("POST", path);
    EXPECT_EQ(posted.kind, Kind::kRun) << path;
    EXPECT_EQ(posted.operation, operation) << path;
    EXPECT_EQ(route("GET", path).kind, Kind::kMethodNotAllowed) << path;
    EXPECT_EQ(route("GET", path).allowed, "POST");
  }
}

TEST(TrussRoute, KnowsWhatIsAskedAboutTheModel) {
  EXPECT_EQ(route("GET", "/").kind, Kind::kLive);
  EXPECT_EQ(route("HEAD", "/v1/models/model").kind, Kind::kReady);
  EXPECT_EQ(route("GET", "/v1/models/model/loaded").kind, Kind::kLoaded);
  EXPECT_EQ(route("GET", "/v1/models/model/schema").kind, Kind::kSchema);
  EXPECT_EQ(route("GET", "/ping").kind, Kind::kLoaded);
  EXPECT_EQ(route("GET", "/ping/").kind, Kind::kLoaded);
  EXPECT_EQ(route("GET", "/v1/models/a%20b/").kind, Kind::kReady);
  EXPECT_EQ(route("POST", "/v1/models/model").kind, Kind::kMethodNotAllowed);
}

TEST(TrussRoute, KnowsNothingElse) {
  for (const char* path : {"/v1/models/", "/v1/models//loaded", "/v1/models/m/x", "/predict_binary",
                           "/v1", "/v1/chat", "/v1/models/m//", "///"}) {
    EXPECT_EQ(route("POST", path).kind, Kind::kNotFound) << path;
  }
}

TEST(TrussRoute, TakesWebSocketsAtTheirPathOnly) {
  EXPECT_EQ(route("CONNECT", "/v1/websocket", "websocket").operation, Operation::kWebSocket);
  EXPECT_EQ(route("CONNECT", "/websocket", "websocket").operation, Operation::kWebSocket);
  EXPECT_EQ(route("GET", "/v1/websocket").kind, Kind::kMethodNotAllowed);
  EXPECT_EQ(route("CONNECT", "/predict", "websocket").kind, Kind::kNotFound);
}

}  // namespace
}  // namespace penstock::sidecar
