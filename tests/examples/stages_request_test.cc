#include "examples/stages/stages_request.h"

#include <gtest/gtest.h>

namespace penstock::examples {
namespace {

using std::chrono::microseconds;

TEST(StagesRequest, ReadsEveryKey) {
  const auto request = parseStagesRequest(
      R"({"preprocess_ms":1,"predict_ms":2.5,"postprocess_ms":0,"busy":true,"echo":{"a":[1, "b"]}})");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->preprocess, microseconds(1000));
  EXPECT_EQ(request->predict, microseconds(2500));
  EXPECT_EQ(request->postprocess, microseconds(0));
  EXPECT_TRUE(request->busy);
  EXPECT_EQ(request->echo_json, R"({"a":[1,"b"]})");
}

TEST(StagesRequest, EveryKeyIsOptional) {
  const auto request = parseStagesRequest(" {} ");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->predict, Duration::zero());
  EXPECT_FALSE(request->busy);
  EXPECT_EQ(request->echo_json, "");
}

class StagesRequestError : public testing::TestWithParam<const char*> {};

TEST_P(StagesRequestError, IsTheRequestsFault) {
  const auto request = parseStagesRequest(GetParam());
  ASSERT_FALSE(request.has_value());
  EXPECT_EQ(request.error().kind, runtime::ErrorKind::kBadInput);
  EXPECT_FALSE(request.error().message.empty());
}

INSTANTIATE_TEST_SUITE_P(Bodies, StagesRequestError,
                         testing::Values("", "[]", "7", "{", "{}{}", R"({"predict_ms":"1"})",
                                         R"({"predict_ms":-1})", R"({"predict_ms":3600001})",
                                         R"({"predict_ms":true})", R"({"busy":1})",
                                         R"({"predict":1})", R"({"busy":true,"busy":true})",
                                         "{\"echo\":\"\xff\"}"));

}  // namespace
}  // namespace penstock::examples
