#include "net/process/child_log.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/captured_log.h"
#include "tests/support/loop_runner.h"

namespace penstock::net {
namespace {

// A pipe whose writing end plays the process.
struct Written {
  Written() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    reading = net::UniqueFd(ends[0]);
    writing = net::UniqueFd(ends[1]);
  }
  void write(const std::string& text) const {
    EXPECT_EQ(::write(writing.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  net::UniqueFd reading;
  net::UniqueFd writing;
};

class ChildLogTest : public ::testing::Test {
 protected:
  ChildLogTest() {
    log.emplace(loop, captured.logger(),
                ChildLog::Origin{.what = "replica",
                                 .fields = {{"cluster", "m"}, {"replica", "127.0.0.1:1"}},
                                 .pid = 42,
                                 .program = "model-server"},
                ChildProcess::Output{std::move(output.reading), std::move(error.reading)});
  }
  // The events with that message, once there are so many.
  std::vector<nlohmann::json> events(const std::string& message, std::size_t count) {
    std::vector<nlohmann::json> found;
    EXPECT_TRUE(net::runUntil(loop, [&] {
      found = captured.events(message);
      return found.size() >= count;
    })) << message;
    return found;
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  CapturedLog captured;
  Written output;
  Written error;
  std::optional<ChildLog> log;
};

TEST_F(ChildLogTest, PassesOnPlainLines) {
  output.write("hello\n");
  error.write("Traceback\n");
  const auto found = events("replica output", 2);
  for (const auto& event : found) {
    EXPECT_EQ(event["program"], "penstock-proxy");
    EXPECT_EQ(event["cluster"], "m");
    EXPECT_EQ(event["replica"], "127.0.0.1:1");
    EXPECT_EQ(event["pid"], 42);
  }
  const std::set<std::string> lines{found[0]["line"], found[1]["line"]};
  EXPECT_EQ(lines, (std::set<std::string>{"Traceback", "hello"}));
}

TEST_F(ChildLogTest, APlainLineHasTheLevelThatItBeginsWith) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {"CRITICAL model: no memory", "error"},
      {"ERROR model: the disk is full", "error"},
      {"ERROR:root:the disk is full", "error"},
      {"WARNING model: careful", "warning"},
      {"WARN  careful", "warning"},
      {"INFO model: fine", "info"},
      {"DEBUG model: detail", "info"},
      {"ERRORS are none", "info"},
      {"ERROR", "info"},
      {"an ERROR model: within", "info"}};
  std::string text;
  for (const auto& [line, level] : lines) {
    text += line + "\n";
  }
  output.write(text);
  const auto found = events("replica output", lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(found[i]["line"], lines[i].first);
    EXPECT_EQ(found[i]["level"], lines[i].second) << lines[i].first;
  }
}

TEST_F(ChildLogTest, PassesOnJsonEventsAsTheyAre) {
  error.write(
      R"({"time":"2020","level":"warning","program":"penstock-sidecar","message":"model ready",)"
      R"("listener":"model","address":"127.0.0.1:9","seconds":1.5,"count":3,"big":18446744073709551615,)"
      R"("ok":true,"none":null,"list":[1,2],"cluster":"forged","pid":1})"
      "\n");
  const auto event = events("model ready", 1)[0];
  EXPECT_EQ(event["program"], "penstock-sidecar");
  EXPECT_EQ(event["level"], "warning");
  EXPECT_NE(event["time"], "2020");
  EXPECT_EQ(event["listener"], "model");
  EXPECT_EQ(event["address"], "127.0.0.1:9");
  EXPECT_EQ(event["seconds"], 1.5);
  EXPECT_EQ(event["count"], 3);
  EXPECT_EQ(event["big"], "18446744073709551615");
  EXPECT_EQ(event["ok"], true);
  EXPECT_EQ(event["none"], "null");
  EXPECT_EQ(event["list"], "[1,2]");
  EXPECT_EQ(event["cluster"], "m");
  EXPECT_EQ(event["replica"], "127.0.0.1:1");
  EXPECT_EQ(event["pid"], 42);
}

TEST_F(ChildLogTest, AJsonEventWithoutAProgramGetsItsOwn) {
  error.write("{\"message\":\"up\"}\n");
  const auto event = events("up", 1)[0];
  EXPECT_EQ(event["program"], "model-server");
  EXPECT_EQ(event["level"], "info");
}

TEST_F(ChildLogTest, WhatOnlyLooksLikeJsonIsAPlainLine) {
  output.write("{broken\n{\"no\":\"message\"}\n[1]\n");
  const auto found = events("replica output", 3);
  EXPECT_EQ(found[0]["line"], "{broken");
  EXPECT_EQ(found[1]["line"], "{\"no\":\"message\"}");
}

TEST_F(ChildLogTest, StandsDeepNesting) {
  std::string line =
      "{\"message\":\"deep\",\"x\":" + std::string(7000, '[') + std::string(7000, ']') + "}\n";
  output.write(line);
  // As text: to write such a value back would take the stack.
  EXPECT_EQ(events("replica output", 1).size(), 1u);
}

TEST_F(ChildLogTest, LosesLinesOfAFloodAndCountsThem) {
  std::string flood;
  for (int i = 0; i < 5000; ++i) {
    flood += "x\n";
  }
  output.write(flood);
  output.writing.reset();
  ASSERT_TRUE(
      net::runUntil(loop, [&] { return captured.events("replica output").size() >= 1000; }));
  log->finish();
  const auto dropped = events("replica output dropped", 1);
  std::int64_t total = static_cast<std::int64_t>(captured.events("replica output").size());
  EXPECT_LT(total, 4000);
  for (const auto& event : dropped) {
    total += event["lines"].get<std::int64_t>();
  }
  EXPECT_EQ(total, 5000);
}

TEST_F(ChildLogTest, PassesOnWhatIsLeftAtTheEnd) {
  output.write("a\nlast words");
  log->finish();
  EXPECT_EQ(events("replica output", 2)[1]["line"], "last words");
  log->finish();
}

TEST_F(ChildLogTest, SurvivesThatAnOutputIsClosed) {
  output.writing.reset();
  error.write("still\n");
  EXPECT_EQ(events("replica output", 1)[0]["line"], "still");
}

}  // namespace
}  // namespace penstock::net
