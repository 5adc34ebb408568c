#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace penstock {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning", "error"; anything else is an error that lists them.
Result<LogLevel> parseLogLevel(std::string_view name);

struct LogField {
  std::string_view key;
  std::variant<std::string_view, std::int64_t, double, bool> value;
};

// Structured log. One JSON object per line, or readable text when standard error is a terminal.
// Fields are escaped and cut at 1 KiB, lines at 16 KiB. Never blocks the caller: a full queue drops
// lines and counts them. Thread-safe. Flushes what is queued when destroyed.
class Logger {
 public:
  struct Options {
    LogLevel level = LogLevel::kInfo;
    // Prepended as field "program" to each line.
    std::string program;
  };

  explicit Logger(Options options);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool enabled(LogLevel level) const;
  void log(LogLevel level, std::string_view message, std::span<const LogField> fields);
  void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(level, message, std::span(fields.begin(), fields.size()));
  }
  // Passes on what another program said, under that program's name.
  void relay(std::string_view program, LogLevel level, std::string_view message,
             std::span<const LogField> fields);
  void debug(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kDebug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kInfo, message, fields);
  }
  void warning(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kWarning, message, fields);
  }
  void error(std::string_view message, std::initializer_list<LogField> fields = {}) {
    log(LogLevel::kError, message, fields);
  }

  // Waits until every line is written, but for 2 s at most: for who ends the process at once.
  void flush();

  // Lines lost because the queue was full.
  std::uint64_t dropped() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Writes batches of finished lines (the access log) to a file or to standard output without ever
// blocking the caller; a full queue drops the batch and counts its lines. Thread-safe.
class LineSink {
 public:
  // path: a file to append to, or "/dev/stdout", "/dev/stderr".
  static Result<std::unique_ptr<LineSink>> open(const std::string& path);
  virtual ~LineSink() = default;
  // lines: complete, each ending in '\n'.
  virtual void write(std::string lines) = 0;
  // Waits until everything is written, but for 2 s at most: somebody may not read.
  virtual void flush() = 0;
  virtual std::uint64_t dropped() const = 0;
  // Opens the path again, for a file that was renamed: what is written from now on goes to the
  // file that has the name then. After an error the old file stays in use.
  virtual Result<void> reopen() = 0;
};

}  // namespace penstock
