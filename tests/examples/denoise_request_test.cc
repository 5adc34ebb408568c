#include "examples/denoise/denoise_request.h"

#include <gtest/gtest.h>

namespace penstock::examples {
namespace {

TEST(DenoiseRequest, TakesTheBodyAsItIs) {
  for (const char* type : {"image/png", "image/jpeg", "application/octet-stream", ""}) {
    const auto request = parseDenoiseRequest({.body = "bytes", .content_type = type});
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(request->file, "bytes");
    EXPECT_FALSE(request->json);
  }
}

TEST(DenoiseRequest, TakesBase64OutOfJson) {
  for (const char* type :
       {"application/json", "Application/JSON", "application/json; charset=utf-8"}) {
    const auto request =
        parseDenoiseRequest({.body = R"({"image": "Zm9v"})", .content_type = type});
    ASSERT_TRUE(request.has_value()) << type;
    EXPECT_EQ(request->file, "foo");
    EXPECT_TRUE(request->json);
  }
}

TEST(DenoiseRequest, RefusesOtherJson) {
  for (const char* body : {"", "[]", "{}", R"({"image":7})", R"({"image":"Zg"})",
                           R"({"picture":"Zm9v"})", R"({"image":"Zm9v","size":1})"}) {
    const auto request = parseDenoiseRequest({.body = body, .content_type = "application/json"});
    ASSERT_FALSE(request.has_value()) << body;
    EXPECT_EQ(request.error().kind, runtime::ErrorKind::kBadInput);
  }
}

TEST(DenoiseRequest, AnswersInTheMannerOfTheRequest) {
  EXPECT_EQ(denoiseOutput("foo", false).content_type, "image/png");
  EXPECT_EQ(denoiseOutput("foo", false).body, "foo");
  EXPECT_EQ(denoiseOutput("foo", true).content_type, "application/json");
  EXPECT_EQ(denoiseOutput("foo", true).body, R"({"image":"Zm9v","content_type":"image/png"})");
}

}  // namespace
}  // namespace penstock::examples
