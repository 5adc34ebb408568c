#include "proxy/filters/access_log/access_log_format.h"

#include <iterator>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/json_escape.h"

namespace penstock::proxy {
namespace {

constexpr std::size_t kMaxFieldSize = 1024;

double milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

std::string_view cut(std::string_view field) {
  return field.substr(0, kMaxFieldSize);
}

std::string startTime(const ExchangeReport& report) {
  using namespace std::chrono;
  const auto whole = floor<seconds>(report.start_time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(system_clock::to_time_t(whole)),
                     duration_cast<std::chrono::milliseconds>(report.start_time - whole).count());
}

// Bytes of a character at which a reader of Unicode ends a line or a terminal obeys: C1 controls
// (U+0085 among them), U+2028, U+2029. 0: it begins with another.
std::size_t hiddenControl(std::string_view text) {
  if (text.size() >= 2 && text[0] == '\xC2' && static_cast<unsigned char>(text[1]) >= 0x80 &&
      static_cast<unsigned char>(text[1]) < 0xA0) {
    return 2;
  }
  return text.starts_with("\xE2\x80\xA8") || text.starts_with("\xE2\x80\xA9") ? 3 : 0;
}

// Inside double quotes; "-" if empty.
void appendField(std::string& line, std::string_view field) {
  if (field.empty()) {
    line.push_back('-');
  }
  field = cut(field);
  std::size_t hidden_until = 0;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const char c = field[i];
    if (const std::size_t hidden = hiddenControl(field.substr(i)); hidden > 0) {
      hidden_until = i + hidden;
    }
    if (c == '"' || c == '\\') {
      line.push_back('\\');
      line.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || i < hidden_until) {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      line.push_back(c);
    }
  }
}

void appendQuoted(std::string& line, std::string_view field) {
  line.append(" \"");
  appendField(line, field);
  line.push_back('"');
}

// As it was sent: a WebSocket over HTTP/1.1 is asked for with GET.
std::string_view method(const AccessLogEntry& entry) {
  const bool upgrade = entry.head.isWebSocket() && entry.protocol != http::Protocol::kHttp2;
  return upgrade ? std::string_view("GET") : entry.head.method;
}

std::string_view header(const AccessLogEntry& entry, std::string_view name) {
  return entry.head.headers.get(name).value_or("");
}

}  // namespace

std::string formatDefault(const AccessLogEntry& entry) {
  const ExchangeReport& report = entry.report;
  std::string line = fmt::format("[{}] \"", startTime(report));
  appendField(line, method(entry));
  line.push_back(' ');
  appendField(line, entry.head.path);
  const std::string_view flags =
      report.reason == Reason::kNone ? "-" : outcomeOf(report.reason).name;
  fmt::format_to(std::back_inserter(line), " {}\" {} {} {} {} {:.0f} ", toString(entry.protocol),
                 report.status, flags, report.bytes_received, report.bytes_sent,
                 milliseconds(report.total));
  if (report.replica_time < Duration::zero()) {
    line.push_back('-');
  } else {
    fmt::format_to(std::back_inserter(line), "{:.0f}", milliseconds(report.replica_time));
  }
  appendQuoted(line, header(entry, "x-forwarded-for"));
  appendQuoted(line, header(entry, "user-agent"));
  appendQuoted(line, header(entry, "x-request-id"));
  appendQuoted(line, entry.head.authority);
  appendQuoted(line, report.replica);
  fmt::format_to(std::back_inserter(line), " waited_ms={:.3f} attempts={}",
                 milliseconds(report.waited), report.attempts);
  // x-forwarded-for may be all the client's own invention, and is missing where no route matched.
  line += " client=";
  appendField(line, entry.client);
  return line;
}

std::string formatJson(const AccessLogEntry& entry) {
  const ExchangeReport& report = entry.report;
  std::string line = fmt::format("{{\"time\":\"{}\"", startTime(report));
  const auto text = [&](std::string_view key, std::string_view value) {
    fmt::format_to(std::back_inserter(line), ",\"{}\":", key);
    appendJsonString(line, cut(value));
  };
  const auto number = [&](std::string_view key, auto value) {
    fmt::format_to(std::back_inserter(line), ",\"{}\":{}", key, value);
  };
  const auto time = [&](std::string_view key, Duration value) {
    fmt::format_to(std::back_inserter(line), ",\"{}\":{:.3f}", key, milliseconds(value));
  };
  text("method", method(entry));
  text("path", entry.head.path);
  text("protocol", toString(entry.protocol));
  number("status", report.status);
  text("reason", report.reason == Reason::kNone ? "none" : outcomeOf(report.reason).name);
  number("bytes_received", report.bytes_received);
  number("bytes_sent", report.bytes_sent);
  time("duration_ms", report.total);
  time("waited_ms", report.waited);
  if (report.replica_time >= Duration::zero()) {
    time("replica_ms", report.replica_time);
  }
  number("attempts", report.attempts);
  text("cluster", entry.cluster);
  text("replica", report.replica);
  text("client", entry.client);
  text("forwarded_for", header(entry, "x-forwarded-for"));
  text("user_agent", header(entry, "user-agent"));
  text("request_id", header(entry, "x-request-id"));
  text("authority", entry.head.authority);
  line.push_back('}');
  return line;
}

}  // namespace penstock::proxy
