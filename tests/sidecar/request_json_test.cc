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
      requestJson(head, "r1"),
      R"({"request_id":"r1","method":"POST","scheme":"http","path":"/predict",)"
      R"("query":"a=\"1\"","http_version":"1.1","client":null,"headers":[["host","model:80"],)"
      R"(["content-length","12"],["accept","*/*"],["x-name","Jörg"]]})");
}

}  // namespace
}  // namespace penstock::sidecar
