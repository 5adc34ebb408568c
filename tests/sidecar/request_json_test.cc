#include "sidecar/request_json.h"

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

TEST(RequestJson, SaysWhatWasAskedForAndHow) {
  http::RequestHead head{.method = "POST",
                         .scheme = "http",
                         .authority = "model:80",
                         .path = "/predict?a=\"1\"",
                         .protocol = {},
                         .headers = {},
                         .content_length = 12};
  head.headers.add("accept", "*/*");
  head.headers.add("x-name", "J\xF6rg");
  EXPECT_EQ(
      requestJson(head, "r1",
                  Ends{.client = *net::Address::parse("127.0.0.1:9"),
                       .server = *net::Address::parse("[::1]:80")}),
      R"({"request_id":"r1","method":"POST","scheme":"http","path":"/predict",)"
      R"("query":"a=\"1\"","http_version":"1.1","client":["127.0.0.1",9],"server":["::1",80],"headers":[["host","model:80"],)"
      R"(["content-length","12"],["accept","*/*"],["x-name","Jörg"]]})");
}

TEST(RequestJson, SaysNothingOfAddressesThatAreNotKnown) {
  const std::string json = requestJson({}, "r1", std::nullopt);
  EXPECT_FALSE(json.contains("client")) << json;
  EXPECT_FALSE(json.contains("server")) << json;
}

}  // namespace
}  // namespace penstock::sidecar
