#include "simulator/trace.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace penstock::simulator {
namespace {

constexpr std::string_view kTokens = "TIMESTAMP,ContextTokens,GeneratedTokens";
constexpr std::string_view kPlain = "arrival_seconds,service_seconds";
// Ten years; what is beyond is a mistake and would not fit into nanoseconds before long.
constexpr double kLongestSeconds = 10.0 * 366 * 86'400;

std::optional<double> parseNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      value < 0 || value > kLongestSeconds) {
    return std::nullopt;
  }
  return value;
}

std::optional<int> parseDigits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return std::nullopt;
  }
  return value;
}

// "2023-11-16 18:17:03.9799600": seconds since 1970, of no time zone.
std::optional<double> parseTimestamp(std::string_view text) {
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' ||
      (text[10] != ' ' && text[10] != 'T') || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const auto year = parseDigits(text.substr(0, 4));
  const auto month = parseDigits(text.substr(5, 2));
  const auto day = parseDigits(text.substr(8, 2));
  const auto hour = parseDigits(text.substr(11, 2));
  const auto minute = parseDigits(text.substr(14, 2));
  const auto second = parseNumber(text.substr(17));
  if (!year || !month || !day || !hour || !minute || !second) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || *hour > 23 || *minute > 59 || *second >= 61) {
    return std::nullopt;
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return static_cast<double>(days) * 86'400 + *hour * 3'600 + *minute * 60 + *second;
}

struct Row {
  double at;
  double service;
};

// The row, or what was expected.
std::expected<Row, std::string_view> parseRow(std::string_view line, bool tokens,
                                              const ServiceModel& model) {
  std::array<std::string_view, 3> fields;
  const std::size_t wanted = tokens ? 3 : 2;
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::size_t comma = line.find(',');
    if ((comma == std::string_view::npos) != (i + 1 == wanted)) {
      return std::unexpected(tokens ? "expected three fields: timestamp, tokens, tokens"
                                    : "expected two fields: seconds, seconds");
    }
    fields[i] = line.substr(0, comma);
    line.remove_prefix(std::min(line.size(), fields[i].size() + 1));
  }
  if (!tokens) {
    const auto at = parseNumber(fields[0]);
    const auto service = parseNumber(fields[1]);
    if (!at || !service) {
      return std::unexpected("expected seconds, 0 or more");
    }
    return Row{.at = *at, .service = *service};
  }
  const auto at = parseTimestamp(fields[0]);
  if (!at) {
    return std::unexpected("expected a time like 2023-11-16 18:17:03.9799600");
  }
  const auto context = parseNumber(fields[1]);
  const auto generated = parseNumber(fields[2]);
  if (!context || !generated) {
    return std::unexpected("expected a number of tokens, 0 or more");
  }
  const double service = model.base_seconds + model.per_context_token_seconds * *context +
                         model.per_generated_token_seconds * *generated;
  if (service > kLongestSeconds) {
    return std::unexpected("expected tokens that take ten years at most");
  }
  return Row{.at = *at, .service = service};
}

void chomp(std::string& line) {
  if (line.ends_with('\r')) {
    line.pop_back();
  }
}

Load toLoad(std::vector<Row> rows, bool from_first) {
  std::ranges::stable_sort(rows, {}, &Row::at);
  const double start = from_first ? rows.front().at : 0;
  Load load;
  load.arrivals.reserve(rows.size());
  for (const Row& row : rows) {
    const Duration service = std::max(fromSeconds(row.service), Duration(1));
    load.arrivals.push_back({.at = fromSeconds(row.at - start), .service = service});
    load.length = std::max(load.length, load.arrivals.back().at + service);
  }
  return load;
}

}  // namespace

Result<Load> readTrace(const std::string& file, const ServiceModel& model) {
  std::ifstream in(file);
  std::string line;
  if (!in || !std::getline(in, line)) {
    return failure(fmt::format("{}: expected a file that can be read and is not empty", file));
  }
  chomp(line);
  const bool tokens = line == kTokens;
  if (!tokens && line != kPlain) {
    return failure(fmt::format("{}:1: expected \"{}\" or \"{}\"", file, kTokens, kPlain));
  }
  std::vector<Row> rows;
  for (std::size_t number = 2; std::getline(in, line); ++number) {
    chomp(line);
    if (line.empty()) {
      continue;
    }
    const auto row = parseRow(line, tokens, model);
    if (!row) {
      return failure(fmt::format("{}:{}: {}, got \"{:.60}\"", file, number, row.error(), line));
    }
    rows.push_back(*row);
  }
  if (rows.empty()) {
    return failure(fmt::format("{}:2: expected at least one request", file));
  }
  const auto [first, last] = std::ranges::minmax(rows, {}, &Row::at);
  if (last.at - first.at > kLongestSeconds) {
    return failure(fmt::format("{}: expected a trace of ten years at most", file));
  }
  return toLoad(std::move(rows), tokens);
}

}  // namespace penstock::simulator
