#include "net/http/field_rules.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <string>

namespace penstock::http {

namespace {

using Table = std::array<std::uint8_t, 256>;

// Which of the rules a byte satisfies, one bit each, so that one table serves all of them.
constexpr std::uint8_t kLowerToken = 1;
constexpr std::uint8_t kToken = 2;
constexpr std::uint8_t kValue = 4;
constexpr std::uint8_t kPath = 8;
constexpr std::uint8_t kAuthority = 16;

constexpr void mark(Table& table, std::string_view characters, std::uint8_t bits) {
  for (const char c : characters) {
    table[static_cast<std::uint8_t>(c)] |= bits;
  }
}

constexpr Table makeTable() {
  Table table{};
  constexpr std::string_view kDigits = "0123456789";
  constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
  constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  mark(table, kDigits, kLowerToken | kToken | kAuthority);
  mark(table, kLower, kLowerToken | kToken | kAuthority);
  mark(table, kUpper, kToken | kAuthority);
  mark(table, "!#$%&'*+-.^_`|~", kLowerToken | kToken);
  mark(table, "-._~%!$&'()*+,;=:[]", kAuthority);
  for (std::size_t c = 0; c < table.size(); ++c) {
    if ((c >= 0x20 && c != 0x7f) || c == '\t') {
      table[c] |= kValue;
    }
    if (c > 0x20 && c < 0x7f && c != '#' && c != '\\') {
      table[c] |= kPath;
    }
  }
  return table;
}

constexpr Table kTable = makeTable();

bool all(std::string_view text, std::uint8_t bit) {
  std::uint8_t common = bit;
#pragma GCC unroll 8
  for (const char c : text) {
    common &= kTable[static_cast<std::uint8_t>(c)];
  }
  return common != 0;
}

// Whether all of eight bytes are 0x20 to 0x7e. (Only a byte that is not carries into the next.)
bool arePlain(const char* eight) {
  constexpr std::uint64_t kEach = 0x0101010101010101;
  constexpr std::uint64_t kHigh = 0x80 * kEach;
  std::uint64_t word;
  std::memcpy(&word, eight, sizeof word);
  return ((word | (word - 0x20 * kEach) | (word + kEach)) & kHigh) == 0;
}

bool hasNoControls(std::string_view value) {
  if (value.size() < 8) {
    return all(value, kValue);
  }
  const char* const last_eight = value.data() + value.size() - 8;
  const char* at = value.data();
  while (at < last_eight && arePlain(at)) {
    at += 8;
  }
  return (at >= last_eight && arePlain(last_eight)) || all(value, kValue);
}

bool isBlank(char c) {
  return c == ' ' || c == '\t';
}

std::atomic<std::uint64_t> unwritable_fields = 0;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool isPort(std::string_view text) {
  return text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool isFieldName(std::string_view name) {
  return !name.empty() && all(name, kLowerToken);
}

bool isFieldValue(std::string_view value) {
  return value.empty() ||
         (!isBlank(value.front()) && !isBlank(value.back()) && hasNoControls(value));
}

bool isHopByHopField(std::string_view name) {
  switch (name.size()) {
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 14:
      return name == "http2-settings";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    default:
      return false;
  }
}

bool mayBeTrailer(std::string_view name) {
  static constexpr auto kHeadOnly = std::to_array<std::string_view>({
      "age",
      "authorization",
      "cache-control",
      "content-encoding",
      "content-length",
      "content-range",
      "content-type",
      "cookie",
      "date",
      "expect",
      "expires",
      "host",
      "location",
      "max-forwards",
      "pragma",
      "proxy-authenticate",
      "proxy-authorization",
      "range",
      "retry-after",
      "set-cookie",
      "te",
      "trailer",
      "vary",
      "warning",
      "www-authenticate",
  });
  return !isHopByHopField(name) && !name.starts_with("if-") &&
         !std::ranges::binary_search(kHeadOnly, name);
}

void removeHeadFields(Headers& trailers) {
  for (std::size_t i = trailers.size(); i-- > 0;) {
    if (const std::string name(trailers[i].name); !mayBeTrailer(name)) {
      trailers.remove(name);
      i = std::min(i, trailers.size());
    }
  }
}

bool isOriginForm(std::string_view path) {
  return !path.empty() && path.front() == '/' && all(path, kPath);
}

bool isAuthority(std::string_view authority) {
  if (authority.empty() || !all(authority, kAuthority)) {
    return false;
  }
  const bool bracketed = authority.front() == '[';
  const std::size_t closing = authority.find(']');
  if (bracketed == (closing == std::string_view::npos) ||
      authority.rfind('[') != (bracketed ? 0 : closing)) {
    return false;
  }
  const std::size_t host_end =
      bracketed ? closing + 1 : std::min(authority.find(':'), authority.size());
  if (host_end == (bracketed ? 2U : 0U)) {
    return false;
  }
  const std::string_view rest = authority.substr(host_end);
  return rest.empty() || (rest.front() == ':' && isPort(rest.substr(1)));
}

bool sameAuthority(std::string_view a, std::string_view b, std::string_view scheme) {
  const std::string_view port = scheme == "https" ? ":443" : ":80";
  const auto named = [&](std::string_view authority) {
    if (authority.ends_with(port)) {
      authority.remove_suffix(port.size());
    } else if (authority.ends_with(':')) {
      authority.remove_suffix(1);
    }
    return authority;
  };
  return equalsIgnoreCase(named(a), named(b));
}

bool isMethod(std::string_view method) {
  return !method.empty() && all(method, kToken);
}

bool mayWriteField(std::string_view name, std::string_view value) {
  if (isFieldName(name) && isFieldValue(value)) [[likely]] {
    return true;
  }
  unwritable_fields.fetch_add(1, std::memory_order_relaxed);
  return false;
}

std::uint64_t unwritableFields() {
  return unwritable_fields.load(std::memory_order_relaxed);
}

bool equalsIgnoreCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace penstock::http
