#include "net/http/http1_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "net/http/field_rules.h"

namespace penstock::http {
bool isToken(std::string_view text) {
  return isMethod(text);
}

bool isTextChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= ' ' && byte != 0x7f) || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::uint64_t> parseDecimal(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || stopped != end) {
    return std::nullopt;
  }
  return value;
}

int hexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char l = static_cast<char>(c | 0x20);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

std::string_view takeListElement(std::string_view& list) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view element = trimmed(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (!element.empty()) {
      return element;
    }
  }
  return {};
}

bool listHas(std::string_view list, std::string_view element) {
  for (std::string_view e = takeListElement(list); !e.empty(); e = takeListElement(list)) {
    if (equalsIgnoreCase(e, element)) {
      return true;
    }
  }
  return false;
}

bool isHopByHop(std::string_view name) {
  return name == "te" || isHopByHopField(name);
}

bool isEndToEnd(std::string_view name) {
  static constexpr std::array<std::string_view, 17> kProtected = {
      "host",         "authorization",    "proxy-authorization", "content-length",
      "content-type", "content-encoding", "content-range",       "cookie",
      "set-cookie",   "cache-control",    "forwarded",           "date",
      "expect",       "x-forwarded-for",  "x-forwarded-proto",   "x-forwarded-host",
      "x-request-id",
  };
  static constexpr std::string_view kOwnPrefix = "x-penstock-";
  return std::ranges::any_of(kProtected,
                             [&](std::string_view p) { return equalsIgnoreCase(p, name); }) ||
         equalsIgnoreCase(name.substr(0, kOwnPrefix.size()), kOwnPrefix);
}

}  // namespace penstock::http
