#include "proxy/admin/change_access.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "net/http/field_rules.h"

namespace penstock::proxy {
namespace {

constexpr std::size_t kMinToken = 16;
constexpr std::size_t kMaxToken = 256;

// In a time that depends on the lengths only.
bool sameSecret(std::string_view one, std::string_view other) {
  unsigned difference = one.size() == other.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(one.size(), other.size()); ++i) {
    difference |= static_cast<unsigned>(one[i] ^ other[i]);
  }
  return difference == 0;
}

bool hasToken(const http::Headers& headers, std::string_view token) {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view field = headers.get("authorization").value_or("");
  return headers.count("authorization") == 1 && field.size() > kScheme.size() &&
         http::equalsIgnoreCase(field.substr(0, kScheme.size()), kScheme) &&
         sameSecret(field.substr(kScheme.size()), token);
}

bool isOwnOrigin(std::string_view origin, std::string_view authority) {
  return http::equalsIgnoreCase(origin, std::string("http://").append(authority)) ||
         http::equalsIgnoreCase(origin, std::string("https://").append(authority));
}

bool isJson(const http::Headers& headers) {
  std::string_view type = headers.get("content-type").value_or("");
  type = type.substr(0, type.find(';'));
  type = type.substr(0, type.find_last_not_of(" \t") + 1);
  return headers.count("content-type") == 1 && http::equalsIgnoreCase(type, "application/json");
}

}  // namespace

Result<std::string> readToken(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string token;
  if (!stream || (!std::getline(stream, token) && !stream.eof())) {
    return failure(file + ": cannot read it: " + std::strerror(errno));
  }
  if (token.ends_with('\r')) {
    token.pop_back();
  }
  const bool printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7F; });
  if (!printable || token.size() < kMinToken || token.size() > kMaxToken) {
    return failure(file +
                   ":1:1: expected a token: 16 to 256 printable ASCII characters without spaces");
  }
  return token;
}

std::optional<AdminPage> refuseChange(const http::RequestHead& head, bool loopback,
                                      std::string_view token) {
  const auto origin = head.headers.get("origin");
  // Of several only one could be looked at.
  if (head.headers.count("origin") > 1 || (origin && !isOwnOrigin(*origin, head.authority))) {
    return errorPage(403, "changes from pages of other sites are refused");
  }
  if (token.empty() && !loopback) {
    return errorPage(403, "changes from afar need admin.token_file in the configuration");
  }
  if (!token.empty() && !hasToken(head.headers, token)) {
    return errorPage(401, "changes need the token: authorization: Bearer TOKEN");
  }
  if (!isJson(head.headers)) {
    return errorPage(415, "expected content-type: application/json");
  }
  return std::nullopt;
}

}  // namespace penstock::proxy
