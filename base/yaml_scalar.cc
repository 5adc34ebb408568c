#include "base/yaml_scalar.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/json_escape.h"

namespace penstock {
namespace {

// Python itself reads no integer of more digits from text.
constexpr std::size_t kMostDigits = 4300;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

bool isOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

// The characters at the front that fit; they are taken off.
template <typename Fits>
std::string_view take(std::string_view& text, Fits fits) {
  const auto end = std::ranges::find_if_not(text, fits);
  const auto taken = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(taken.size());
  return taken;
}

bool takeChar(std::string_view& text, char c) {
  if (!text.starts_with(c)) {
    return false;
  }
  text.remove_prefix(1);
  return true;
}

std::string_view takeDigits(std::string_view& text) {
  return take(text, isDigit);
}

std::string withoutUnderscores(std::string_view text) {
  std::string out(text);
  std::erase(out, '_');
  return out;
}

// Digits of that base, the highest first, as a decimal number without leading zeros.
std::string toDecimal(const std::vector<unsigned>& digits, unsigned base) {
  std::vector<unsigned> decimal{0};  // the lowest first
  for (const unsigned digit : digits) {
    unsigned carry = digit;
    for (unsigned& place : decimal) {
      carry += place * base;
      place = carry % 10;
      carry /= 10;
    }
    for (; carry > 0; carry /= 10) {
      decimal.push_back(carry % 10);
    }
  }
  while (decimal.size() > 1 && decimal.back() == 0) {
    decimal.pop_back();
  }
  std::string out;
  for (auto at = decimal.rbegin(); at != decimal.rend(); ++at) {
    out += static_cast<char>('0' + *at);
  }
  return out;
}

std::optional<std::string> readDigits(std::string_view text, unsigned base) {
  std::vector<unsigned> digits;
  for (const char c : text) {
    const unsigned digit =
        isDigit(c) ? static_cast<unsigned>(c - '0')
                   : 10 + static_cast<unsigned>(std::tolower(static_cast<unsigned char>(c)) - 'a');
    if (c == '_') {
      continue;
    }
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0 || digit >= base) {
      return std::nullopt;
    }
    digits.push_back(digit);
  }
  if (digits.empty() || digits.size() > kMostDigits) {
    return std::nullopt;
  }
  return toDecimal(digits, base);
}

// ":30:45", each of at most two digits and below 60.
std::optional<std::vector<unsigned>> takeSixtieths(std::string_view& text) {
  std::vector<unsigned> parts;
  while (takeChar(text, ':')) {
    const std::string_view digits = takeDigits(text);
    if (digits.empty() || digits.size() > 2 || (digits.size() == 2 && digits[0] > '5')) {
      return std::nullopt;
    }
    unsigned part = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), part);
    parts.push_back(part);
  }
  return parts;
}

// "12:30:45" is 12 · 3600 + 30 · 60 + 45.
std::optional<std::string> readSexagesimal(std::string_view text) {
  const std::string whole =
      withoutUnderscores(take(text, [](char c) { return isDigit(c) || c == '_'; }));
  const auto sixtieths = takeSixtieths(text);
  std::uint32_t first = 0;
  const auto [stop, error] = std::from_chars(whole.data(), whole.data() + whole.size(), first);
  constexpr std::uint32_t kMostWhole = std::numeric_limits<std::uint32_t>::max() / 100;
  if (!sixtieths || sixtieths->empty() || !text.empty() || error != std::errc() ||
      first > kMostWhole) {
    return std::nullopt;
  }
  std::vector<unsigned> digits{first};
  digits.insert(digits.end(), sixtieths->begin(), sixtieths->end());
  return toDecimal(digits, 60);
}

std::optional<std::string> readUnsignedInteger(std::string_view text) {
  if (text.empty() || !isDigit(text[0])) {
    return std::nullopt;
  }
  if (text == "0") {
    return "0";
  }
  if (text[0] != '0') {
    return text.find(':') == std::string_view::npos ? readDigits(text, 10) : readSexagesimal(text);
  }
  if (text.starts_with("0b")) {
    return readDigits(text.substr(2), 2);
  }
  if (text.starts_with("0x")) {
    return readDigits(text.substr(2), 16);
  }
  return readDigits(text, 8);
}

std::optional<YamlScalar::Integer> readInteger(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  auto digits = readUnsignedInteger(text);
  if (!digits) {
    return std::nullopt;
  }
  return YamlScalar::Integer{negative && *digits != "0" ? '-' + *digits : std::move(*digits)};
}

double toDouble(const std::string& text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    // A mantissa of zeros cannot be out of range; else the exponent's sign says which way.
    return text.find("e-") == std::string::npos ? std::numeric_limits<double>::infinity() : 0.0;
  }
  return value;
}

// Nothing, or an exponent with its sign, without which YAML 1.1 knows no exponent.
bool isExponent(std::string_view text) {
  if (text.empty()) {
    return true;
  }
  if (!takeChar(text, 'e') && !takeChar(text, 'E')) {
    return false;
  }
  return (takeChar(text, '+') || takeChar(text, '-')) && !takeDigits(text).empty() && text.empty();
}

// "1:30.5" is 90.5.
std::optional<double> readSexagesimalFraction(const std::string& whole, std::string_view rest) {
  const auto sixtieths = takeSixtieths(rest);
  if (!sixtieths || !takeChar(rest, '.')) {
    return std::nullopt;
  }
  const std::string fraction =
      withoutUnderscores(take(rest, [](char c) { return isDigit(c) || c == '_'; }));
  if (!rest.empty()) {
    return std::nullopt;
  }
  // Added up from the lowest, as PyYAML does, so that the last bit is the same.
  const std::string last = sixtieths->empty() ? whole : std::to_string(sixtieths->back());
  double value = toDouble(last + "." + fraction + "0");
  double base = 60;
  for (std::size_t i = sixtieths->size(); i > 1; --i, base *= 60) {
    value += (*sixtieths)[i - 2] * base;
  }
  return sixtieths->empty() ? value : value + toDouble(whole) * base;
}

std::optional<double> readUnsignedFraction(std::string_view text) {
  const auto in_number = [](char c) { return isDigit(c) || c == '_'; };
  const std::string whole = withoutUnderscores(take(text, in_number));
  if (text.starts_with(':') && !whole.empty()) {
    return readSexagesimalFraction(whole, text);
  }
  if (!takeChar(text, '.') || (whole.empty() && (text.empty() || !isDigit(text[0])))) {
    return std::nullopt;
  }
  const std::string fraction = withoutUnderscores(take(text, in_number));
  if (!isExponent(text)) {
    return std::nullopt;
  }
  std::string exponent(text);
  std::erase(exponent, '+');
  std::ranges::transform(exponent, exponent.begin(),
                         [](unsigned char c) { return std::tolower(c); });
  return toDouble("0" + whole + "." + fraction + "0" + exponent);
}

std::optional<double> readFraction(std::string_view text) {
  if (isOneOf(text, {".nan", ".NaN", ".NAN"})) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const bool is_signed = text.starts_with('-') || text.starts_with('+');
  const double sign = text.starts_with('-') ? -1 : 1;
  if (is_signed) {
    text.remove_prefix(1);
  }
  if (isOneOf(text, {".inf", ".Inf", ".INF"})) {
    return sign * std::numeric_limits<double>::infinity();
  }
  // ".5" is a number, "+.5" none; a number does not begin with an underscore.
  if (text.empty() || text[0] == '_' || (is_signed && text[0] == '.')) {
    return std::nullopt;
  }
  const auto value = readUnsignedFraction(text);
  return value ? std::optional(sign * *value) : std::nullopt;
}

std::optional<unsigned> takeNumber(std::string_view& text, std::size_t least, std::size_t most) {
  std::string_view rest = text;
  const std::string_view digits = takeDigits(rest).substr(0, most);
  if (digits.size() < least) {
    return std::nullopt;
  }
  unsigned value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  text.remove_prefix(digits.size());
  return value;
}

// "2001-12-14".
std::optional<std::string> takeDate(std::string_view& text, std::size_t least_digits) {
  const auto year = takeNumber(text, 4, 4);
  const auto month = year && takeChar(text, '-') ? takeNumber(text, least_digits, 2) : std::nullopt;
  const auto day = month && takeChar(text, '-') ? takeNumber(text, least_digits, 2) : std::nullopt;
  if (!day || *year == 0 ||
      !std::chrono::year_month_day(std::chrono::year(static_cast<int>(*year)),
                                   std::chrono::month(*month), std::chrono::day(*day))
           .ok()) {
    return std::nullopt;
  }
  return fmt::format("{:04}-{:02}-{:02}", *year, *month, *day);
}

// "21:59:43.1".
std::optional<std::string> takeClock(std::string_view& text) {
  const auto hour = takeNumber(text, 1, 2);
  const auto minute = hour && takeChar(text, ':') ? takeNumber(text, 2, 2) : std::nullopt;
  const auto second = minute && takeChar(text, ':') ? takeNumber(text, 2, 2) : std::nullopt;
  if (!second || *hour > 23 || *minute > 59 || *second > 59) {
    return std::nullopt;
  }
  std::string clock = fmt::format("{:02}:{:02}:{:02}", *hour, *minute, *second);
  if (takeChar(text, '.')) {
    std::string fraction(takeDigits(text).substr(0, 6));
    fraction.resize(6, '0');
    if (fraction != "000000") {
      clock += '.' + fraction;
    }
  }
  return clock;
}

// "Z", "-5", "+05:30"; nothing is no zone.
std::optional<std::string> takeZone(std::string_view& text) {
  take(text, [](char c) { return c == ' ' || c == '\t'; });
  if (text.empty()) {
    return "";
  }
  if (takeChar(text, 'Z')) {
    return "Z";
  }
  const char sign = text[0];
  if (!takeChar(text, '+') && !takeChar(text, '-')) {
    return std::nullopt;
  }
  const auto hour = takeNumber(text, 1, 2);
  const auto minute = takeChar(text, ':') ? takeNumber(text, 2, 2) : std::optional(0u);
  if (!hour || !minute || *hour > 23 || *minute > 59) {
    return std::nullopt;
  }
  return *hour == 0 && *minute == 0 ? "Z" : fmt::format("{}{:02}:{:02}", sign, *hour, *minute);
}

std::optional<YamlScalar::Time> readTime(std::string_view text) {
  std::string_view rest = text;
  if (auto date = takeDate(rest, 2); date && rest.empty()) {
    return YamlScalar::Time{std::move(*date)};
  }
  auto date = takeDate(text, 1);
  if (!date) {
    return std::nullopt;
  }
  if (!takeChar(text, 'T') && !takeChar(text, 't') &&
      take(text, [](char c) { return c == ' ' || c == '\t'; }).empty()) {
    return std::nullopt;
  }
  const auto clock = takeClock(text);
  const auto zone = clock ? takeZone(text) : std::nullopt;
  if (!zone || !text.empty()) {
    return std::nullopt;
  }
  return YamlScalar::Time{*date + 'T' + *clock + *zone};
}

// As Python writes it: the shortest text that reads back, and never that of an integer.
std::string doubleText(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".ena") == std::string::npos ? text + ".0" : text;
}

std::string doubleJson(double value) {
  if (std::isnan(value)) {
    return "NaN";
  }
  if (std::isinf(value)) {
    return value < 0 ? "-Infinity" : "Infinity";
  }
  return doubleText(value);
}

std::string quoted(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

// As datetime's str(): with a space, and UTC as a number.
std::string timeText(std::string iso) {
  std::ranges::replace(iso, 'T', ' ');
  if (iso.ends_with('Z')) {
    iso.replace(iso.size() - 1, 1, "+00:00");
  }
  return iso;
}

}  // namespace

YamlScalar YamlScalar::plain(std::string_view text) {
  if (isOneOf(text, {"", "~", "null", "Null", "NULL"})) {
    return {Null()};
  }
  if (isOneOf(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) {
    return {true};
  }
  if (isOneOf(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) {
    return {false};
  }
  if (auto integer = readInteger(text)) {
    return {std::move(*integer)};
  }
  if (const auto fraction = readFraction(text)) {
    return {*fraction};
  }
  if (auto time = readTime(text)) {
    return {std::move(*time)};
  }
  return {std::string(text)};
}

std::string YamlScalar::json() const {
  return std::visit(Overloaded{
                        [](Null) -> std::string { return "null"; },
                        [](bool flag) -> std::string { return flag ? "true" : "false"; },
                        [](const Integer& integer) { return integer.decimal; },
                        [](double number) { return doubleJson(number); },
                        [](const Time& time) { return quoted(time.iso); },
                        [](const std::string& text) { return quoted(text); },
                    },
                    value);
}

std::string YamlScalar::pythonText() const {
  return std::visit(Overloaded{
                        [](Null) -> std::string { return "None"; },
                        [](bool flag) -> std::string { return flag ? "true" : "false"; },
                        [](const Integer& integer) { return integer.decimal; },
                        [](double number) { return doubleText(number); },
                        [](const Time& time) { return timeText(time.iso); },
                        [](const std::string& text) { return text; },
                    },
                    value);
}

}  // namespace penstock
