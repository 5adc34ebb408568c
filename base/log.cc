#include "base/log.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <utility>

#include <unistd.h>

#include "base/json_escape.h"

namespace penstock {
namespace {

constexpr std::size_t kMaxFieldBytes = 1024;
constexpr std::size_t kMaxLineBytes = 16 * 1024;
constexpr std::string_view kCutMark = "…";
constexpr std::string_view kLineCut = R"(,"truncated":true})";

std::string_view levelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

// RFC 3339 in UTC with milliseconds.
void appendTime(std::string& out) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since_epoch = now.time_since_epoch();
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 96> text;
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                parts.tm_sec, static_cast<int>(millis));
  out += text.data();
}

void appendCut(std::string& out, std::string_view text) {
  const std::string_view kept = utf8Prefix(text, kMaxFieldBytes);
  appendJsonEscaped(out, kept);
  if (kept.size() < text.size()) {
    out += kCutMark;
  }
}

void appendQuoted(std::string& out, std::string_view text) {
  out += '"';
  appendCut(out, text);
  out += '"';
}

// The shortest digits that read back as the same number.
template <typename Number>
void appendNumber(std::string& out, Number number) {
  std::array<char, 32> digits;
  out.append(digits.data(),
             std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

void appendNumberOrBool(std::string& out, const LogField& field) {
  if (const auto* integer = std::get_if<std::int64_t>(&field.value)) {
    appendNumber(out, *integer);
  } else if (const auto* number = std::get_if<double>(&field.value)) {
    // JSON has no word for infinity.
    if (std::isfinite(*number)) {
      appendNumber(out, *number);
    } else {
      out += "null";
    }
  } else {
    out += std::get<bool>(field.value) ? "true" : "false";
  }
}

void appendJsonField(std::string& out, const LogField& field) {
  out += ',';
  appendQuoted(out, field.key);
  out += ':';
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    appendQuoted(out, *text);
  } else {
    appendNumberOrBool(out, field);
  }
}

void appendTextField(std::string& out, const LogField& field) {
  out += ' ';
  appendCut(out, field.key);
  out += '=';
  const auto* text = std::get_if<std::string_view>(&field.value);
  if (text == nullptr) {
    appendNumberOrBool(out, field);
  } else if (text->empty() || text->find_first_of(" =\"") != std::string_view::npos) {
    appendQuoted(out, *text);
  } else {
    appendCut(out, *text);
  }
}

std::string jsonLine(LogLevel level, std::string_view program, std::string_view message,
                     std::span<const LogField> fields) {
  std::string line = R"({"time":")";
  appendTime(line);
  line += R"(","level":")";
  line += levelName(level);
  line += '"';
  if (!program.empty()) {
    appendJsonField(line, {"program", program});
  }
  appendJsonField(line, {"message", message});
  for (const LogField& field : fields) {
    const std::size_t before = line.size();
    appendJsonField(line, field);
    if (line.size() + kLineCut.size() + 1 > kMaxLineBytes) {
      line.resize(before);
      line += kLineCut;
      line += '\n';
      return line;
    }
  }
  line += "}\n";
  return line;
}

// program: only if it is another one.
std::string textLine(LogLevel level, std::string_view program, std::string_view message,
                     std::span<const LogField> fields) {
  std::string line;
  appendTime(line);
  constexpr std::size_t kLevelWidth = 7;
  const std::string_view name = levelName(level);
  line += ' ';
  line += name;
  line.append(kLevelWidth - name.size() + 1, ' ');
  if (!program.empty()) {
    appendCut(line, program);
    line += ": ";
  }
  appendCut(line, message);
  for (const LogField& field : fields) {
    const std::size_t before = line.size();
    appendTextField(line, field);
    if (line.size() + kCutMark.size() + 1 > kMaxLineBytes) {
      line.resize(before);
      line += kCutMark;
      break;
    }
  }
  line += '\n';
  return line;
}

}  // namespace

Result<LogLevel> parseLogLevel(std::string_view name) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (name == levelName(level)) {
      return level;
    }
  }
  std::string quoted;
  appendJsonString(quoted, name);
  return failure("expected a log level (debug, info, warning or error), got " + quoted);
}

struct Logger::State {
  Options options;
  bool text;
  // Null when standard error is closed: there is nobody to tell.
  std::unique_ptr<LineSink> sink;
};

Logger::Logger(Options options)
    : state_(std::make_unique<State>(std::move(options), ::isatty(STDERR_FILENO) == 1, nullptr)) {
  if (auto sink = LineSink::open("/dev/stderr")) {
    state_->sink = std::move(*sink);
  }
}

Logger::~Logger() = default;

bool Logger::enabled(LogLevel level) const {
  return level >= state_->options.level;
}

void Logger::log(LogLevel level, std::string_view message, std::span<const LogField> fields) {
  if (!enabled(level) || state_->sink == nullptr) {
    return;
  }
  state_->sink->write(state_->text ? textLine(level, {}, message, fields)
                                   : jsonLine(level, state_->options.program, message, fields));
}

void Logger::relay(std::string_view program, LogLevel level, std::string_view message,
                   std::span<const LogField> fields) {
  if (!enabled(level) || state_->sink == nullptr) {
    return;
  }
  state_->sink->write(state_->text ? textLine(level, program, message, fields)
                                   : jsonLine(level, program, message, fields));
}

void Logger::flush() {
  if (state_->sink != nullptr) {
    state_->sink->flush();
  }
}

std::uint64_t Logger::dropped() const {
  return state_->sink ? state_->sink->dropped() : 0;
}

}  // namespace penstock
