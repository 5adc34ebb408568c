#include "simulator/trace.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

class TraceTest : public ::testing::Test {
 protected:
  Result<Load> read(std::string_view text) {
    folder_.write("trace.csv", text);
    return readTrace(folder_.path("trace.csv"), {.base_seconds = 1,
                                                 .per_context_token_seconds = 0.001,
                                                 .per_generated_token_seconds = 0.1});
  }
  std::string errorOf(std::string_view text) {
    const Result<Load> load = read(text);
    return load ? "none" : load.error().message.substr(folder_.path().size() + 1);
  }

  TemporaryFolder folder_;
};

TEST_F(TraceTest, ReadsTimesAndTokens) {
  const auto load = read(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-12-31 23:59:59.5000000,1000,10\r\n"
      "2024-01-01 00:00:01.2500000,0,0\n");
  ASSERT_TRUE(load.has_value()) << load.error().message;
  ASSERT_EQ(load->arrivals.size(), 2u);
  EXPECT_EQ(load->arrivals[0].at, 0s);
  EXPECT_NEAR(std::chrono::duration<double>(load->arrivals[0].service).count(), 3, 1e-6);
  EXPECT_NEAR(std::chrono::duration<double>(load->arrivals[1].at).count(), 1.75, 1e-6);
  EXPECT_NEAR(std::chrono::duration<double>(load->length).count(), 3, 1e-6);
}

TEST_F(TraceTest, ReadsSecondsAndPutsThemInOrder) {
  const auto load = read("arrival_seconds,service_seconds\n5,1\n\n2.5,0\n");
  ASSERT_TRUE(load.has_value()) << load.error().message;
  ASSERT_EQ(load->arrivals.size(), 2u);
  EXPECT_EQ(load->arrivals[0].at, 2500ms);
  EXPECT_GT(load->arrivals[0].service, 0s) << "whoever is served has been there";
  EXPECT_EQ(load->arrivals[1].at, 5s);
  EXPECT_EQ(load->length, 6s);
}

TEST_F(TraceTest, SaysWhereItIsWrong) {
  const std::string tokens = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const std::string plain = "arrival_seconds,service_seconds\n";
  const std::string time = "expected a time like 2023-11-16 18:17:03.9799600, got ";
  for (const auto& [text, error] : std::vector<std::pair<std::string, std::string>>{
           {"", "trace.csv: expected a file that can be read and is not empty"},
           {"when,how\n1,2\n",
            "trace.csv:1: expected \"TIMESTAMP,ContextTokens,GeneratedTokens\" or "
            "\"arrival_seconds,service_seconds\""},
           {plain, "trace.csv:2: expected at least one request"},
           {plain + "1,1\n2\n", "trace.csv:3: expected two fields: seconds, seconds, got \"2\""},
           {plain + "1,2,3\n", "trace.csv:2: expected two fields: seconds, seconds, got \"1,2,3\""},
           {plain + "1,-2\n", "trace.csv:2: expected seconds, 0 or more, got \"1,-2\""},
           {plain + "nan,1\n", "trace.csv:2: expected seconds, 0 or more, got \"nan,1\""},
           {plain + "1e30,1\n", "trace.csv:2: expected seconds, 0 or more, got \"1e30,1\""},
           {plain + "1s,1\n", "trace.csv:2: expected seconds, 0 or more, got \"1s,1\""},
           {tokens + "yesterday,1,2\n", "trace.csv:2: " + time + "\"yesterday,1,2\""},
           {tokens + "2023-02-30 00:00:00,1,2\n",
            "trace.csv:2: " + time + "\"2023-02-30 00:00:00,1,2\""},
           {tokens + "2023-02-03 24:00:00,1,2\n",
            "trace.csv:2: " + time + "\"2023-02-03 24:00:00,1,2\""},
           {tokens + "2023-02-03 20:00:00,1,x\n",
            "trace.csv:2: expected a number of tokens, 0 or more, got \"2023-02-03 20:00:00,1,x\""},
       }) {
    EXPECT_EQ(errorOf(text), error);
  }
}

TEST_F(TraceTest, RefusesTimesThatNoClockHolds) {
  const std::string tokens = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  EXPECT_EQ(errorOf(tokens + "2023-11-16 18:17:03,1,300000000\n"), "none");
  const auto slow = [&](double per_token) {
    folder_.write("slow.csv", tokens + "2023-11-16 18:17:03,300000000,0\n");
    return readTrace(folder_.path("slow.csv"), {.per_context_token_seconds = per_token});
  };
  EXPECT_TRUE(slow(1).has_value());
  ASSERT_FALSE(slow(86'400).has_value());
  EXPECT_NE(slow(86'400).error().message.find("take ten years at most"), std::string::npos);
  EXPECT_EQ(errorOf(tokens + "1023-11-16 18:17:03,1,1\n9023-11-16 18:17:03,1,1\n"),
            "trace.csv: expected a trace of ten years at most");
}

TEST_F(TraceTest, NamesAFileThatIsMissing) {
  const auto load = readTrace(folder_.path("none.csv"), {});
  ASSERT_FALSE(load.has_value());
  EXPECT_TRUE(load.error().message.ends_with(
      "none.csv: expected a file that can be read and is not empty"));
}

}  // namespace
}  // namespace penstock::simulator
