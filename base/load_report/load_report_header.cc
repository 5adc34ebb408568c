#include "base/load_report/load_report_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/load_report/load_report_fields.h"
#include "base/load_report/load_report_json.h"

namespace penstock {
namespace {

struct Group {
  MetricGroup group;
  std::string_view name;
};
constexpr Group kMaps[] = {{MetricGroup::kRequestCost, "request_cost"},
                           {MetricGroup::kUtilization, "utilization"},
                           {MetricGroup::kNamed, "named_metrics"}};

// What servers of before ORCA's names were settled write.
struct OldName {
  std::string_view old;
  std::string_view name;
};
constexpr OldName kOldNames[] = {
    {"cpu", "cpu_utilization"}, {"mem", "mem_utilization"}, {"rps", "rps_fractional"}};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool sameWord(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes "TEXT " or "JSON " off the front.
std::optional<LoadReportFormat> takePrefix(std::string_view& value) {
  const std::optional<LoadReportFormat> format =
      parseLoadReportFormat(value.substr(0, value.find_first_of(" \t")));
  if (format.has_value()) {
    value = trimmed(value.substr(std::min<std::size_t>(value.size(), 4)));
  }
  return format;
}

void addText(LoadReportBuilder& builder, std::string_view name, double value) {
  for (const Group& map : kMaps) {
    if (name.starts_with(map.name) && name.size() > map.name.size() &&
        name[map.name.size()] == '.') {
      builder.add(map.group, name.substr(map.name.size() + 1), value);
      return;
    }
  }
  const auto* const old = std::ranges::find(kOldNames, name, &OldName::old);
  builder.add(MetricGroup::kTop, old == std::end(kOldNames) ? name : old->name, value);
}

void readPair(LoadReportBuilder& builder, std::string_view pair) {
  std::size_t sign = pair.find('=');
  if (sign == std::string_view::npos) {
    sign = pair.rfind(':');
  }
  if (sign == std::string_view::npos) {
    builder.refuse(LoadReportFault::kSyntax);
    return;
  }
  const std::string_view number = trimmed(pair.substr(sign + 1));
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error == std::errc::result_out_of_range) {
    builder.refuse(LoadReportFault::kNotFinite);
  } else if (error != std::errc() || end != number.data() + number.size()) {
    builder.refuse(LoadReportFault::kWrongType);
  } else {
    addText(builder, trimmed(pair.substr(0, sign)), value);
  }
}

ParsedLoadReport parseText(std::string_view text) {
  LoadReportBuilder builder;
  while (!text.empty() && !builder.refused()) {
    const std::size_t comma = text.find(',');
    readPair(builder, trimmed(text.substr(0, comma)));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return std::move(builder).finish();
}

void appendNumber(std::string& text, double value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text.append(digits.data(), end);
}

std::string_view nameOf(MetricGroup group) {
  return std::ranges::find(kMaps, group, &Group::group)->name;
}

std::string toText(const LoadReport& report) {
  std::string text = "TEXT ";
  text.reserve(512);
  forEachMetric(report, [&](MetricGroup group, std::string_view name, double value) {
    if (text.size() > 5) {
      text += ',';
    }
    if (group != MetricGroup::kTop) {
      text.append(nameOf(group)) += '.';
    }
    text.append(name) += '=';
    appendNumber(text, value);
  });
  return text;
}

std::string toJson(const LoadReport& report) {
  std::string json = "JSON {";
  json.reserve(512);
  MetricGroup open = MetricGroup::kTop;
  forEachMetric(report, [&](MetricGroup group, std::string_view name, double value) {
    if (group != open) {
      if (open != MetricGroup::kTop) {
        json += '}';
      }
      json.append(",\"").append(nameOf(group)) += "\":{";
      open = group;
    } else if (json.back() != '{') {
      json += ',';
    }
    (json += '"').append(name) += "\":";
    appendNumber(json, value);
  });
  return json += "}}";  // the last is always among the named metrics
}

}  // namespace

std::optional<LoadReportFormat> parseLoadReportFormat(std::string_view word) {
  if (sameWord(word, "TEXT")) {
    return LoadReportFormat::kText;
  }
  if (sameWord(word, "JSON")) {
    return LoadReportFormat::kJson;
  }
  return std::nullopt;
}

std::string toHeader(const LoadReport& report, LoadReportFormat format) {
  return format == LoadReportFormat::kText ? toText(report) : toJson(report);
}

ParsedLoadReport parseLoadReportHeader(std::string_view value) {
  if (value.size() > kMaxLoadReportBytes) {
    return std::unexpected(LoadReportFault::kTooLong);
  }
  value = trimmed(value);
  const std::optional<LoadReportFormat> format = takePrefix(value);
  if (value.empty()) {
    return std::unexpected(LoadReportFault::kSyntax);
  }
  const bool is_json =
      format.has_value() ? format == LoadReportFormat::kJson : value.starts_with('{');
  return is_json ? parseLoadReportJson(value) : parseText(value);
}

}  // namespace penstock
