#include "base/log.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace penstock {
namespace {

// Gives a logger whose standard error is `end`, which is closed, to use.
template <typename Use>
void logInto(int end, const Logger::Options& options, Use use) {
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(end, STDERR_FILENO);
  ::close(end);
  Logger logger(options);
  // The logger has its own descriptor now.
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  use(logger);
}

std::string readAll(int end) {
  std::string text;
  char block[4096];
  // A terminal whose other side is closed answers EIO.
  for (ssize_t n = ::read(end, block, sizeof block); n > 0; n = ::read(end, block, sizeof block)) {
    text.append(block, static_cast<std::size_t>(n));
  }
  ::close(end);
  return text;
}

// What the logger that `use` gets has written to a pipe, by lines.
template <typename Use>
std::vector<std::string> logged(const Logger::Options& options, Use use) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  logInto(ends[1], options, use);
  std::vector<std::string> lines;
  std::istringstream stream(readAll(ends[0]));
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

// What ends the process at once has no destructor that would write.
TEST(Logger, HasWrittenEverythingAfterAFlush) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  logInto(ends[1], {.level = LogLevel::kInfo, .program = "penstock-sidecar"}, [&](Logger& log) {
    for (int i = 0; i < 100; ++i) {
      log.info("line");
    }
    log.flush();
    std::string text(64 * 1024, ' ');
    const ssize_t size = ::read(ends[0], text.data(), text.size());
    ASSERT_GT(size, 0);
    text.resize(static_cast<std::size_t>(size));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 100);
  });
  ::close(ends[0]);
}

TEST(Logger, WritesOneJsonObjectPerLine) {
  const auto lines =
      logged({.level = LogLevel::kInfo, .program = "penstock-proxy"}, [](Logger& log) {
        log.info("listening",
                 {{"listener", "ingress"}, {"port", 8080}, {"share", 0.5}, {"tls", false}});
        log.error("second");
      });
  ASSERT_EQ(lines.size(), 2U);
  const auto line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["program"], "penstock-proxy");
  EXPECT_EQ(line["message"], "listening");
  EXPECT_EQ(line["listener"], "ingress");
  EXPECT_EQ(line["port"], 8080);
  EXPECT_EQ(line["share"], 0.5);
  EXPECT_EQ(line["tls"], false);
  EXPECT_THAT(line["time"].get<std::string>(), testing::MatchesRegex("20..-..-..T..:..:..\\....Z"));
  EXPECT_EQ(nlohmann::json::parse(lines[1])["level"], "error");
}

TEST(Logger, RelaysUnderTheOtherProgramsName) {
  const auto lines =
      logged({.level = LogLevel::kInfo, .program = "penstock-proxy"}, [](Logger& log) {
        const std::vector<LogField> fields{{"cluster", "m"}, {"pid", 7}};
        log.relay("penstock-sidecar", LogLevel::kWarning, "slow", fields);
        log.relay("penstock-sidecar", LogLevel::kDebug, "detail", fields);
      });
  ASSERT_EQ(lines.size(), 1U);
  const auto line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line["program"], "penstock-sidecar");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "slow");
  EXPECT_EQ(line["cluster"], "m");
  EXPECT_EQ(line["pid"], 7);
}

TEST(Logger, LeavesOutWhatIsBelowItsLevel) {
  const auto lines = logged({.level = LogLevel::kWarning, .program = "p"}, [](Logger& log) {
    EXPECT_FALSE(log.enabled(LogLevel::kInfo));
    EXPECT_TRUE(log.enabled(LogLevel::kWarning));
    log.debug("no");
    log.info("no");
    log.warning("yes");
  });
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], testing::HasSubstr("\"level\":\"warning\""));
}

TEST(Logger, EscapesSoThatOneEventStaysOneLine) {
  const std::string evil = "a\nb\"},{\x1b\xFF";
  const auto lines = logged({.level = LogLevel::kInfo, .program = "p"},
                            [&](Logger& log) { log.info(evil, {{evil, evil}}); });
  ASSERT_EQ(lines.size(), 1U);
  const auto line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line["message"], "a\nb\"},{\x1b\xEF\xBF\xBD");
}

TEST(Logger, CutsAFieldAt1KiB) {
  const std::string at_the_limit(1024, 'x');
  const std::string beyond(1025, 'x');
  const auto lines = logged({.level = LogLevel::kInfo, .program = "p"}, [&](Logger& log) {
    log.info("m", {{"whole", at_the_limit}, {"cut", beyond}});
  });
  const auto line = nlohmann::json::parse(lines.at(0));
  EXPECT_EQ(line["whole"], at_the_limit);
  EXPECT_EQ(line["cut"], at_the_limit + "…");
}

TEST(Logger, CutsALineAt16KiBAndSaysSo) {
  // Each byte takes six when escaped.
  const std::string field(1024, '\x01');
  const auto lines = logged({.level = LogLevel::kInfo, .program = "p"}, [&](Logger& log) {
    log.info("m", {{"a", field}, {"b", field}, {"c", field}, {"d", field}});
  });
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_LE(lines[0].size() + 1, 16U * 1024);
  const auto line = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(line["b"], field);
  EXPECT_FALSE(line.contains("c"));
  EXPECT_EQ(line["truncated"], true);
}

TEST(Logger, WritesNullForWhatJsonHasNoNumberFor) {
  const auto lines = logged({.level = LogLevel::kInfo, .program = "p"}, [](Logger& log) {
    log.info("m", {{"nan", std::nan("")}, {"inf", std::numeric_limits<double>::infinity()}});
  });
  const auto line = nlohmann::json::parse(lines.at(0));
  EXPECT_TRUE(line["nan"].is_null());
  EXPECT_TRUE(line["inf"].is_null());
}

TEST(Logger, WritesTextToATerminal) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const int side = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(side, 0);
  logInto(side, {.level = LogLevel::kInfo, .program = "p"}, [](Logger& log) {
    log.warning("slow down", {{"who", "a b"}, {"n", 3}, {"evil", "\x1b[2J"}, {"plain", "x"}});
  });
  EXPECT_THAT(
      readAll(terminal),
      testing::HasSubstr("Z warning slow down who=\"a b\" n=3 evil=\\u001b[2J plain=x\r\n"));
}

TEST(LogLevel, IsReadByName) {
  EXPECT_EQ(parseLogLevel("debug").value(), LogLevel::kDebug);
  EXPECT_EQ(parseLogLevel("info").value(), LogLevel::kInfo);
  EXPECT_EQ(parseLogLevel("warning").value(), LogLevel::kWarning);
  EXPECT_EQ(parseLogLevel("error").value(), LogLevel::kError);
  const auto wrong = parseLogLevel("INFO");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message,
            "expected a log level (debug, info, warning or error), got \"INFO\"");
}

}  // namespace
}  // namespace penstock
