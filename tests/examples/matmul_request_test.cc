#include "examples/matmul/matmul_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/matmul/perceptron.h"

namespace penstock::examples {
namespace {

using testing::HasSubstr;

std::string row(std::size_t numbers, const std::string& each = "1") {
  std::string text = "[" + each;
  for (std::size_t i = 1; i < numbers; ++i) {
    text += "," + each;
  }
  return text + "]";
}

std::string refusal(const std::string& body) {
  const auto rows = parseRows(body);
  EXPECT_FALSE(rows.has_value()) << body;
  if (rows.has_value()) {
    return "";
  }
  EXPECT_EQ(rows.error().kind, runtime::ErrorKind::kBadInput);
  return rows.error().message;
}

TEST(MatmulRequest, ReadsRowAfterRow) {
  const auto rows = parseRows("{\"inputs\":[" + row(64, "0.5") + "," + row(64, "-2") + "]}");
  ASSERT_TRUE(rows.has_value()) << rows.error().message;
  ASSERT_EQ(rows->size(), 2 * kInputs);
  EXPECT_EQ(rows->front(), 0.5f);
  EXPECT_EQ((*rows)[63], 0.5f);
  EXPECT_EQ((*rows)[64], -2.0f);
  EXPECT_EQ(rows->back(), -2.0f);
}

TEST(MatmulRequest, SaysWhatItExpects) {
  for (const char* body : {"", "no JSON", "[]", "{}", R"({"inputs": 1})", R"({"input": []})",
                           R"({"inputs": [], "more": 1})"}) {
    EXPECT_THAT(refusal(body), HasSubstr(R"(the body: expected {"inputs": [[64 numbers])")) << body;
  }
  EXPECT_EQ(refusal(R"({"inputs": []})"), "inputs: expected 1 to 1024 rows");
  std::string many = "{\"inputs\":[0";
  for (int i = 0; i < 1024; ++i) {
    many += ",0";
  }
  EXPECT_EQ(refusal(many + "]}"), "inputs: expected 1 to 1024 rows");
  const std::string numbers = "inputs: row 1: expected a list of 64 numbers";
  EXPECT_EQ(refusal("{\"inputs\":[" + row(64) + "," + row(63) + "]}"), numbers);
  EXPECT_EQ(refusal("{\"inputs\":[" + row(64) + "," + row(65) + "]}"), numbers);
  EXPECT_EQ(refusal("{\"inputs\":[" + row(64) + ",5]}"), numbers);
  for (const char* each : {"1000001", "-1e300", "\"1\"", "null", "[1]"}) {
    EXPECT_EQ(refusal("{\"inputs\":[" + row(64, each) + "]}"),
              "inputs: row 0: expected numbers from -1000000 to 1000000");
  }
}

TEST(MatmulRequest, WritesNumbersThatAreReadBackTheSame) {
  std::vector<float> outputs(2 * kOutputs, 0.1f);
  outputs[10] = -1.0f / 3;
  EXPECT_EQ(formatRows(outputs),
            "{\"outputs\":[[0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1],"
            "[-0.33333334,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1]]}");
}

}  // namespace
}  // namespace penstock::examples
