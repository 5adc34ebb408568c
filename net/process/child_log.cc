#include "net/process/child_log.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace penstock::net {
namespace {

constexpr int kMaxDepth = 32;
constexpr double kBurstLines = 1000;
constexpr double kLinesPerSecond = 200;
constexpr std::size_t kBytesPerTurn = 64 * 1024;
constexpr std::size_t kBytesAtEnd = 1024 * 1024;

// A line as another program of ours would have logged it.
struct Event {
  LogLevel level = LogLevel::kInfo;
  std::string program;
  std::string message;
  // Key and value; what is no string, number or bool is kept as JSON text.
  std::vector<std::pair<std::string, std::variant<std::string, std::int64_t, double, bool>>> fields;
};

std::string text(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void addField(Event& event, const std::string& key, const nlohmann::json& value) {
  if (value.is_boolean()) {
    event.fields.emplace_back(key, value.get<bool>());
  } else if (value.is_number_float()) {
    event.fields.emplace_back(key, value.get<double>());
  } else if (value.is_number_integer() && !value.is_number_unsigned()) {
    event.fields.emplace_back(key, value.get<std::int64_t>());
  } else if (value.is_number_unsigned() && value.get<std::uint64_t>() <= INT64_MAX) {
    event.fields.emplace_back(key, value.get<std::int64_t>());
  } else {
    event.fields.emplace_back(key, text(value));
  }
}

// More brackets inside one another than a log line needs: writing such a value back would take the
// stack. Brackets in strings count too, which errs on the safe side.
bool nestsDeeply(std::string_view line) {
  int depth = 0;
  for (const char c : line) {
    depth += c == '{' || c == '[' ? 1 : 0;
    depth -= c == '}' || c == ']' ? 1 : 0;
    if (depth > kMaxDepth) {
      return true;
    }
  }
  return false;
}

std::optional<Event> parse(std::string_view line, const ChildLog::Origin& origin) {
  if (!line.starts_with('{') || nestsDeeply(line)) {
    return std::nullopt;
  }
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object() || !object.contains("message")) {
    return std::nullopt;
  }
  Event event;
  for (const auto& [key, value] : object.items()) {
    if (key == "message") {
      event.message = text(value);
    } else if (key == "program") {
      event.program = text(value);
    } else if (key == "level") {
      event.level = parseLogLevel(text(value)).value_or(LogLevel::kInfo);
    } else if (key != "time" && key != "pid" &&
               std::ranges::find(origin.fields, key, &std::pair<std::string, std::string>::first) ==
                   origin.fields.end()) {
      addField(event, key, value);
    }
  }
  return event;
}

// "ERROR model: the disk is full", "WARNING:root:careful": what Python's logging begins a line
// with.
LogLevel levelOf(std::string_view line) {
  constexpr std::pair<std::string_view, LogLevel> kNames[] = {{"CRITICAL", LogLevel::kError},
                                                              {"FATAL", LogLevel::kError},
                                                              {"ERROR", LogLevel::kError},
                                                              {"WARNING", LogLevel::kWarning},
                                                              {"WARN", LogLevel::kWarning}};
  for (const auto& [name, level] : kNames) {
    if (line.starts_with(name) && line.size() > name.size() &&
        (line[name.size()] == ' ' || line[name.size()] == ':')) {
      return level;
    }
  }
  return LogLevel::kInfo;
}

}  // namespace

ChildLog::Stream::Stream(EventLoop& loop, UniqueFd the_fd, LineSplitter::Take take,
                         std::move_only_function<void()> readable)
    : fd(std::move(the_fd)), lines(std::move(take)) {
  watch.emplace(loop, fd.get(), [call = std::move(readable)](FdWatch::Ready) mutable { call(); });
  watch->set(true, false);
}

ChildLog::ChildLog(EventLoop& loop, Logger& logger, Origin origin, ChildProcess::Output output)
    : loop_(loop),
      logger_(logger),
      origin_(std::move(origin)),
      allowance_(kBurstLines),
      refilled_at_(loop.now()),
      output_(
          loop, std::move(output.standard_output), [this](std::string_view line) { passOn(line); },
          [this] { read(output_, kBytesPerTurn); }),
      error_(
          loop, std::move(output.standard_error), [this](std::string_view line) { passOn(line); },
          [this] { read(error_, kBytesPerTurn); }) {}

void ChildLog::finish() {
  for (Stream* stream : {&output_, &error_}) {
    read(*stream, kBytesAtEnd);
    stream->lines.finish();
    stream->watch.reset();
    stream->fd.reset();
  }
  tellDropped();
}

void ChildLog::read(Stream& stream, std::size_t max_bytes) {
  char block[16 * 1024];
  for (std::size_t taken = 0; taken < max_bytes && stream.fd.valid();) {
    const ssize_t count = ::read(stream.fd.get(), block, sizeof block);
    if (count > 0) {
      taken += static_cast<std::size_t>(count);
      stream.lines.feed({block, static_cast<std::size_t>(count)});
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      stream.watch.reset();
      stream.fd.reset();
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void ChildLog::passOn(std::string_view line) {
  if (!mayPass()) {
    ++dropped_;
    return;
  }
  tellDropped();
  if (!passOnJson(line)) {
    std::vector<LogField> fields = originFields();
    fields.push_back({"line", line});
    logger_.log(levelOf(line), origin_.what + " output", fields);
  }
}

bool ChildLog::passOnJson(std::string_view line) {
  const std::optional<Event> event = parse(line, origin_);
  if (!event.has_value()) {
    return false;
  }
  std::vector<LogField> fields = originFields();
  for (const auto& [key, value] : event->fields) {
    std::visit([&, &name = key](const auto& v) { fields.push_back({name, v}); }, value);
  }
  logger_.relay(event->program.empty() ? origin_.program : event->program, event->level,
                event->message, fields);
  return true;
}

std::vector<LogField> ChildLog::originFields() const {
  std::vector<LogField> fields;
  for (const auto& [name, value] : origin_.fields) {
    fields.push_back({name, std::string_view(value)});
  }
  fields.push_back({"pid", origin_.pid});
  return fields;
}

bool ChildLog::mayPass() {
  const TimePoint now = loop_.now();
  allowance_ += std::chrono::duration<double>(now - refilled_at_).count() * kLinesPerSecond;
  allowance_ = std::min(allowance_, kBurstLines);
  refilled_at_ = now;
  if (allowance_ < 1) {
    return false;
  }
  allowance_ -= 1;
  return true;
}

void ChildLog::tellDropped() {
  if (const std::uint64_t lines = std::exchange(dropped_, 0); lines > 0) {
    std::vector<LogField> fields = originFields();
    fields.push_back({"lines", static_cast<std::int64_t>(lines)});
    logger_.log(LogLevel::kWarning, origin_.what + " output dropped", fields);
  }
}

}  // namespace penstock::net
